"""Interrupted runs with a broker: the job continues, and the same command resumes it."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from tests.conftest import wait_for
from tests.decoder_faults import slow
from tests.e2e.conftest import Run, StartWorker, command, rows_of
from tests.e2e.resume.runs import create_many_images, interrupt_at_rows, paths
from tests.messages import check_message

LINE = ("classify", "many", "-o", "rows.csv")


def test_wait_with_delete_removes_the_keys_of_a_job_once_its_rows_are_in_a_file(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    start_worker()
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    refused = brokered("wait", job, "--delete", "--json")
    assert refused.returncode == 2
    check_message(refused.stderr.decode(), "--delete", "-o FILE")
    (home / "folder.csv").mkdir()
    assert brokered("wait", job, "--delete", "-o", "folder.csv").returncode == 2
    assert Ledger(settings).status(job).images, "a job whose rows are not in a file stays"
    assert brokered("wait", job, "--delete", "-o", "rows.csv", "-q").returncode == 3
    assert len(paths(home / "rows.csv")) == 203
    assert list(Ledger(settings).client.scan_iter(f"{settings.prefix}:job:*")) == []
    assert Ledger(settings).statuses() == []


@pytest.fixture
def killed_producer(home: Path, settings: Settings, start_worker: StartWorker) -> tuple[list[str], str]:
    """Kill a run when its job is completely submitted and its first rows are written; return its images and its job."""
    listed = create_many_images(home)
    start_worker(PYTHONPATH=slow(home.parent / "slow"))
    run = subprocess.Popen(command(*LINE), cwd=home, env=os.environ | settings.to_environment())
    ledger = Ledger(settings)
    wait_for(lambda: any(not status.submitting for status in ledger.statuses()), "the end of the submission")
    interrupt_at_rows(run, home / "rows.csv.part")
    (status,) = ledger.statuses()
    return listed, status.job


def test_a_producer_that_is_killed_while_it_follows_loses_no_row(
    home: Path, settings: Settings, brokered: Run, killed_producer: tuple[list[str], str]
) -> None:
    listed, job = killed_producer
    ledger = Ledger(settings)
    elsewhere = brokered("wait", job, "-o", "elsewhere.csv", "-q")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert paths(home / "elsewhere.csv") == listed
    again = brokered(*LINE)
    assert again.returncode == 0, again.stderr
    assert paths(home / "rows.csv") == listed
    assert len(ledger.statuses()) == 1


def test_changed_and_new_images_are_a_second_job_beside_the_resumed_one(
    home: Path, settings: Settings, brokered: Run, killed_producer: tuple[list[str], str]
) -> None:
    listed, job = killed_producer
    ledger = Ledger(settings)
    for name in ("results", "wait"):
        refused = brokered(name, job, "-o", "rows.csv")
        assert refused.returncode == 2
        check_message(refused.stderr.decode(), "'rows.csv'", "another command")
    (home / "many" / "00000.png").write_bytes(b"other bytes")
    (home / "many" / "new.png").write_bytes((home / "samples" / "003b50.png").read_bytes())
    again = brokered(*LINE)
    assert again.returncode == 3, again.stderr
    assert f"resuming job {job}\n" in again.stderr.decode()
    assert sorted(paths(home / "rows.csv")) == sorted([*listed, "many/new.png"])
    assert [row["path"] for row in rows_of((home / "rows.csv").read_bytes()) if row["error"]] == ["many/00000.png"]
    assert [(one.images, one.state) for one in ledger.statuses()] == [(len(listed), "finished"), (2, "finished")]


def test_the_rows_of_a_deleted_job_are_kept_and_its_other_images_are_submitted_again(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    listed = create_many_images(home)
    start_worker(PYTHONPATH=slow(home.parent / "slow"))
    run = subprocess.Popen(command(*LINE), cwd=home, env=os.environ | settings.to_environment())
    interrupt_at_rows(run, home / "rows.csv.part")
    (status,) = Ledger(settings).statuses()
    rows_before = len(paths(home / "rows.csv.part"))
    Ledger(settings).delete(status.job)
    again = brokered(*LINE, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["kept"] >= rows_before
    assert json.loads(again.stdout)["job"] != status.job
    assert paths(home / "rows.csv") == listed


def test_a_followed_job_that_redis_lost_is_reported_with_the_remedy(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    listed = create_many_images(home)
    worker = start_worker(PYTHONPATH=slow(home.parent / "slow"))
    environment = os.environ | settings.to_environment()
    run = subprocess.Popen(command(*LINE), cwd=home, env=environment, stderr=subprocess.PIPE)
    wait_for(lambda: (home / "rows.csv.part").exists() and paths(home / "rows.csv.part") != [], "the first rows")
    worker.send_signal(signal.SIGSTOP)
    (status,) = Ledger(settings).statuses()
    Ledger(settings).delete(status.job)
    worker.send_signal(signal.SIGCONT)
    _, stderr = run.communicate(timeout=30)
    assert run.returncode == 2, stderr
    check_message(stderr.decode(), f"no job '{status.job}'", "run the same command again")
    assert brokered(*LINE).returncode == 0
    assert paths(home / "rows.csv") == listed
