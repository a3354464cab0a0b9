"""`delete` removes the chosen jobs, and no unfinished job without `--force`."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pigeonhole.errors import ExitCode, UnknownJob
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from pigeonhole.text import counted
from producer.cli import app
from tests.ledger.conftest import batch_of, finished_job, open_job

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the program in this process, in an empty folder."""
    for variable, value in settings.to_environment().items():
        monkeypatch.setenv(variable, value)
    return lambda *arguments: CliRunner().invoke(app, [*arguments], catch_exceptions=False)


@pytest.mark.parametrize("started", [False, True])
def test_an_unfinished_job_is_deleted_only_with_force(run: Run, ledger: Ledger, started: bool) -> None:
    job = ledger.create("digits", ())
    added = ledger.add(job, 0, batch_of("a.png", "b.png"))
    assert added is not None
    if started:
        ledger.claim(job, added)
    refused = run("delete", job)
    assert refused.exit_code == ExitCode.USAGE
    for part in (
        "running" if started else "queued",
        "0 of 2 images",
        f"`pigeonhole wait {job}`",
        f"`pigeonhole delete --force {job}`",
    ):
        assert part in refused.stderr
    assert ledger.status(job).images == 2
    assert run("delete", "--force", job).exit_code == 0
    with pytest.raises(UnknownJob):
        ledger.status(job)


def test_a_cancelled_job_is_deleted_without_force(run: Run, ledger: Ledger) -> None:
    job = ledger.create("digits", ())
    ledger.cancel(job)
    assert run("delete", job).exit_code == 0
    assert ledger.statuses() == []


def test_a_job_with_a_damaged_record_is_deleted_by_the_command_in_its_message(
    run: Run, ledger: Ledger, settings: Settings
) -> None:
    job = ledger.create("digits", ())
    ledger.client.hset(f"{settings.prefix}:job:{job}", "images", "many")
    assert f"`pigeonhole delete {job}`" in run("status", job).stderr
    assert run("delete", job).exit_code == 0
    assert ledger.statuses() == []


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_unknown_job_is_a_usage_error(run: Run, force: list[str]) -> None:
    done = run("delete", *force, "gone")
    assert done.exit_code == ExitCode.USAGE
    assert done.stderr.startswith("pigeonhole: ")
    assert "'gone'" in done.stderr


def test_no_job_is_deleted_if_one_of_several_is_unfinished(run: Run, ledger: Ledger) -> None:
    cancelled, other, queued = (ledger.create("digits", ()) for _ in range(3))
    ledger.cancel(cancelled)
    ledger.cancel(other)
    assert run("delete", cancelled, queued).exit_code == ExitCode.USAGE
    assert len(ledger.statuses()) == 3
    assert "2 jobs" in run("delete", cancelled, other, cancelled).stderr
    assert [status.job for status in ledger.statuses()] == [queued]


def _jobs_of_three_ages(settings: Settings) -> tuple[str, str, str]:
    """Return three jobs: one finished eight days ago, one cancelled now, and one queued for eight days."""
    earlier = Ledger(settings, now=lambda: time.time() - 8 * 86_400)
    old, new, queued = finished_job(earlier, "a.png"), Ledger(settings).create("digits", ()), open_job(earlier)
    Ledger(settings).cancel(new)
    return old, new, queued


@pytest.mark.parametrize(
    ("options", "deleted"),
    [
        (["--finished"], {0, 1}),
        (["--older-than", "7d"], {0}),
        (["--older-than", "0s"], {0, 1}),
        (["--finished", "--older-than", "1.5w"], set()),
        (["--finished", "--older-than", "12h"], {0}),
    ],
)
def test_finished_and_cancelled_jobs_are_deleted_by_age_but_no_unfinished_job(
    run: Run, ledger: Ledger, settings: Settings, options: list[str], deleted: set[int]
) -> None:
    jobs = _jobs_of_three_ages(settings)
    done = run("delete", *options)
    assert done.exit_code == ExitCode.OK
    assert done.stderr.startswith(counted(len(deleted), "job"))
    left = {status.job for status in ledger.statuses()}
    assert left == {job for at, job in enumerate(jobs) if at not in deleted}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ("JOBs", "--finished", "--older-than AGE")),
        (["--older-than", "7 days"], ("--older-than", "'7 days'", "7d")),
        (["--older-than", "-1d"], ("--older-than", "'-1d'", "7d")),
        (["last", "--finished"], ("JOBs", "--finished", "--older-than")),
        (["--finished", "--force"], ("--force", "JOBs")),
    ],
)
def test_an_invalid_choice_of_jobs_is_refused(
    run: Run, ledger: Ledger, arguments: list[str], parts: tuple[str, ...]
) -> None:
    ledger.cancel(ledger.create("digits", ()))
    done = run("delete", *arguments)
    assert done.exit_code == ExitCode.USAGE
    for part in ("pigeonhole: ", *parts):
        assert part in done.stderr
    assert len(ledger.statuses()) == 1


@pytest.mark.parametrize("output", [[], ["--json"], ["-o", "pipe"], ["-o", "/dev/stdout"], ["-o", "/dev/null"]])
def test_wait_delete_needs_a_regular_file_for_the_rows(run: Run, ledger: Ledger, output: list[str]) -> None:
    os.mkfifo("pipe")
    job = ledger.create("digits", ())
    ledger.close(job, 0)
    refused = run("wait", job, "--delete", "--format", "csv", *output)
    assert refused.exit_code == ExitCode.USAGE
    for part in ("pigeonhole: ", "--delete", "-o FILE"):
        assert part in refused.stderr
    assert [status.job for status in ledger.statuses()] == [job]
    assert run("wait", job, "--delete", "-o", "rows.csv").exit_code == 0
    assert ledger.statuses() == []
