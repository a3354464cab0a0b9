"""Nothing that is still needed is deleted by accident."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pigeonhole.errors import UnknownJob
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from producer.cli import app
from tests.ledger.conftest import batch_of

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the program in this process, in an empty folder."""
    for variable, value in settings.to_environment().items():
        monkeypatch.setenv(variable, value)
    return lambda *arguments: CliRunner().invoke(app, [*arguments], catch_exceptions=False)


@pytest.mark.parametrize("closed", [False, True])
def test_a_job_that_is_not_over_is_deleted_only_with_force(run: Run, ledger: Ledger, closed: bool) -> None:
    job = ledger.create("digits", ())
    ledger.add(job, 0, batch_of("a.png", "b.png"))
    if closed:
        ledger.close(job, 1)
    refused = run("delete", job)
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"pigeonhole: job {job} is {'closed' if closed else 'open'}: 0 of 2 images are done. `pigeonhole wait {job}` "
        f"follows it, `pigeonhole delete --force {job}` forgets it with its rows\n"
    )
    assert ledger.status(job).images == 2
    assert run("delete", "--force", job).exit_code == 0
    with pytest.raises(UnknownJob):
        ledger.status(job)


def test_a_job_that_is_cancelled_is_deleted_at_once(run: Run, ledger: Ledger) -> None:
    job = ledger.create("digits", ())
    ledger.cancel(job)
    assert run("delete", job).exit_code == 0
    assert ledger.statuses() == []


def test_a_job_whose_record_is_damaged_is_deleted_as_its_message_says(
    run: Run, ledger: Ledger, settings: Settings
) -> None:
    job = ledger.create("digits", ())
    ledger.client.hset(f"{settings.prefix}:job:{job}", "images", "many")
    assert f"`pigeonhole delete {job}`" in run("status", job).stderr
    assert run("delete", job).exit_code == 0
    assert ledger.statuses() == []


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_job_that_is_not_there_is_told(run: Run, force: list[str]) -> None:
    done = run("delete", *force, "gone")
    assert (done.exit_code, done.stderr[:27]) == (2, "pigeonhole: no job 'gone': ")


@pytest.mark.parametrize("output", [[], ["--json"], ["-o", "pipe"], ["-o", "/dev/stdout"], ["-o", "/dev/null"]])
def test_a_job_is_not_deleted_after_its_rows_went_where_they_may_be_lost(
    run: Run, ledger: Ledger, output: list[str]
) -> None:
    os.mkfifo("pipe")
    job = ledger.create("digits", ())
    ledger.close(job, 0)
    refused = run("wait", job, "--delete", "--format", "csv", *output)
    assert refused.exit_code == 2
    assert refused.stderr == (
        "pigeonhole: --delete would lose the rows: name a file for them with -o FILE, not a pipe or a device\n"
    )
    assert [status.job for status in ledger.statuses()] == [job]
    assert run("wait", job, "--delete", "-o", "rows.csv").exit_code == 0
    assert ledger.statuses() == []
