"""`delete` removes the chosen jobs, and no unfinished job without `--force`."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pigeonhole.errors import UnknownJob
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from pigeonhole.text import counted
from producer.cli import app
from tests.ledger.conftest import batch_of, finished_job, open_job

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the program in this process, in an empty folder."""
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
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"pigeonhole: job {job} is {'running' if started else 'queued'}: 0 of 2 images are done. "
        f"`pigeonhole wait {job}` follows it, `pigeonhole delete --force {job}` deletes it with its rows\n"
    )
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
    assert (done.exit_code, done.stderr[:27]) == (2, "pigeonhole: no job 'gone': ")


def test_no_job_is_deleted_if_one_of_several_is_unfinished(run: Run, ledger: Ledger) -> None:
    over, other, queued = (ledger.create("digits", ()) for _ in range(3))
    ledger.cancel(over)
    ledger.cancel(other)
    assert run("delete", over, queued).exit_code == 2
    assert len(ledger.statuses()) == 3
    assert run("delete", over, other, over).stderr == "2 jobs deleted\n"
    assert [status.job for status in ledger.statuses()] == [queued]


def _jobs_of_three_ages(settings: Settings) -> tuple[str, str, str]:
    """Return a job that was finished eight days ago, one cancelled now, and one queued eight days ago."""
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
    assert (done.exit_code, done.stderr) == (0, f"{counted(len(deleted), 'job')} deleted\n")
    left = {status.job for status in ledger.statuses()}
    assert left == {job for at, job in enumerate(jobs) if at not in deleted}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "no job is given: "),
        (["--older-than", "7 days"], "--older-than '7 days' is not an age: give a number and s, m, h, d or w"),
        (["--older-than", "-1d"], "--older-than '-1d' is not an age: "),
        (["last", "--finished"], "JOBs can't be combined with --finished or --older-than"),
        (["--finished", "--force"], "--force needs JOBs"),
    ],
)
def test_an_invalid_choice_of_jobs_is_refused(run: Run, ledger: Ledger, arguments: list[str], why: str) -> None:
    ledger.cancel(ledger.create("digits", ()))
    done = run("delete", *arguments)
    assert (done.exit_code, done.stderr.startswith(f"pigeonhole: {why}")) == (2, True), done.stderr
    assert len(ledger.statuses()) == 1


@pytest.mark.parametrize("output", [[], ["--json"], ["-o", "pipe"], ["-o", "/dev/stdout"], ["-o", "/dev/null"]])
def test_wait_delete_needs_a_regular_file_for_the_rows(run: Run, ledger: Ledger, output: list[str]) -> None:
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
