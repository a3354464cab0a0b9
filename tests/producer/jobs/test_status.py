"""`status` and `wait` report jobs that make no progress."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from pigeonhole.errors import ExitCode
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import Client
from pigeonhole.settings import Settings
from tests.e2e.conftest import command
from tests.ledger.conftest import finished_job


@pytest.fixture
def abandoned(settings: Settings) -> str:
    """Return the id of a job whose submission was interrupted ten minutes ago."""
    return Ledger(settings, now=lambda: time.time() - 600).create("digits", ("my photos",))


def run(settings: Settings, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | settings.to_environment()
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_status_reports_an_interrupted_submission_and_the_last_sweep(
    settings: Settings, abandoned: str, tmp_path: Path
) -> None:
    for arguments in (("status",), ("status", abandoned)):
        done = run(settings, tmp_path, *arguments)
        assert done.returncode == ExitCode.OK
        problem, sweep = done.stderr.splitlines()
        assert f"job {abandoned}" in problem
        assert f"`pigeonhole submit --job {abandoned} 'my photos'`" in problem
        assert re.search("sweep.*none", sweep)
    Ledger(settings).note_sweep()
    (job,) = json.loads(run(settings, tmp_path, "status", "--json").stdout)
    assert 600 <= job["silent"] < 660
    assert 0 <= job["sweep_age"] < 60


def test_status_of_finished_jobs_prints_no_notice(settings: Settings, tmp_path: Path) -> None:
    job = finished_job(Ledger(settings), "a.png")
    assert run(settings, tmp_path, "status", job).stderr == ""
    first, second = (run(settings, tmp_path, "status", "--json").stdout for _ in range(2))
    assert first == second


@pytest.mark.parametrize("value", ["x", "nan"])
def test_a_damaged_time_of_the_last_sweep_counts_as_no_sweep(
    settings: Settings, abandoned: str, tmp_path: Path, raw: Client, value: str
) -> None:
    raw.set(f"{settings.prefix}:swept", value)
    assert re.search("sweep.*none", run(settings, tmp_path, "status").stderr)


def test_waiting_for_a_job_that_lost_rows_names_the_batch_and_the_remedy(
    settings: Settings, tmp_path: Path, raw: Client
) -> None:
    job = finished_job(Ledger(settings), "a.png")
    raw.delete(f"{settings.prefix}:job:{job}:rows")
    done = run(settings, tmp_path, "wait", job, "-o", "rows.csv")
    assert done.returncode == ExitCode.FAILED
    for part in (f"pigeonhole: job {job}", "batch 0", f"`pigeonhole delete {job}`", "submit"):
        assert part in done.stderr
