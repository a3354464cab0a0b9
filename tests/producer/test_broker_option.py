"""Commands use the Redis of `--broker` instead of the environment's, and hints repeat the option."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from producer.cli import app
from producer.resuming import broker_words, resume_hint
from tests.ledger.conftest import finished_job

#: A broker that does not exist.
UNREACHABLE = {"PIGEONHOLE_BROKER_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture
def broker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of the tests' Redis; the environment names another, which does not exist."""
    for variable, value in (settings.to_environment() | UNREACHABLE).items():
        monkeypatch.setenv(variable, value)
    return settings.broker_url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], catch_exceptions=False)


def test_each_job_command_uses_the_broker_of_its_option(settings: Settings, broker: str) -> None:
    job = finished_job(Ledger(settings), "a.png")
    assert job in run("status", "--broker", broker).stdout
    assert run("wait", job[:-1], "--broker", broker).stdout == run("results", "last", "--broker", broker).stdout
    for command in ("resume", "cancel", "delete"):
        assert job in run(command, "last", "--broker", broker).stderr
    assert Ledger(settings).statuses() == []


def test_the_next_command_after_submit_names_the_broker(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").touch()
    monkeypatch.setenv("PIGEONHOLE_IMAGE_ROOT", str(tmp_path))
    submitted = run("submit", str(tmp_path / "a.png"), "--broker", broker)
    assert f"pigeonhole wait --broker {broker} {submitted.stdout.strip()}" in submitted.stderr


@pytest.mark.parametrize("submitting", [True, False])
def test_a_hint_names_the_broker_only_if_the_environment_has_another(
    settings: Settings, broker: str, monkeypatch: pytest.MonkeyPatch, submitting: bool
) -> None:
    client = Connection(settings, Retrying())
    job = client.create(["in"])
    if not submitting:
        client.ledger.close(job, 0)
    hints = [resume_hint(client, job, "x.csv")]
    monkeypatch.setenv("PIGEONHOLE_BROKER_URL", broker)
    hints.append(resume_hint(client, job, "x.csv"))
    assert [f"--broker {broker}" in hint for hint in hints] == [True, False]


def test_a_hint_shows_no_password(settings: Settings, broker: str) -> None:
    secret = replace(settings, broker_url="redis://:secret@localhost:6379/0?password_file=/run/secret")
    assert broker_words(secret) == ["--broker", "redis://:***@localhost:6379/0"]
