"""Real workers whose processes are ended: by hand, by an image, by the time limit."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests import decoder_faults
from tests.conftest import children, wait_for
from tests.worker.conftest import published
from worker.contract.ledger import Ledger
from worker.contract.messages import Batch, Group, Prediction
from worker.contract.settings import Settings

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, root: Path) -> Settings:
    images, original = tmp_path / "images", root / "samples" / "003b50.png"
    images.mkdir()
    for number in range(10):
        (images / f"{number}.png").write_bytes(original.read_bytes())
    (images / "slow.png").write_bytes(decoder_faults.image(original, "sleep=0.3"))
    (images / "hangs.png").write_bytes(decoder_faults.image(original, "sleep=600"))
    return replace(settings, image_root=str(images))


def batch(*names: str) -> Batch:
    return Batch((Group("", "", names),))


def rows(ledger: Ledger, job: str) -> list[Prediction]:
    return [row for pieces in ledger.read(job, 0, 8) for part, answers in pieces for row in answers.predictions(part)]


def test_a_batch_whose_process_is_killed_is_taken_up_again_within_two_seconds(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    doomed = start_worker("celery@doomed", PYTHONPATH=decoder_faults.install(tmp_path))
    names = ["slow.png"] * 60
    ledger = Ledger(settings)
    job = published(settings, batch(*names))
    wait_for(lambda: ledger.status(job).batches_claimed == 1, "a batch in hand")
    start_worker("celery@other", PYTHONPATH=decoder_faults.install(tmp_path))
    (child,) = children(doomed.pid)
    os.kill(child, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: 0 < ledger.status(job).batches_waiting < 16, "the split, and a part of it in hand")
    assert time.monotonic() - killed < 2
    wait_for(lambda: ledger.status(job).over, "the job's end")
    assert [(row.path, row.label) for row in rows(ledger, job)] == [(name, "8") for name in names]


def test_a_batch_that_takes_too_long_ends_in_rows_and_only_the_image_to_blame_is_an_error(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    start_worker(PYTHONPATH=decoder_faults.install(tmp_path), PIGEONHOLE_PROCESSES="2", PIGEONHOLE_BATCH_SECONDS="3")
    names = [f"{number}.png" for number in range(10)]
    names.insert(4, "hangs.png")
    ledger = Ledger(settings)
    job = published(settings, batch(*names))
    wait_for(lambda: ledger.status(job).over, "the job's end")
    came = rows(ledger, job)
    assert [row.path for row in came] == names
    assert {row.path: row.error for row in came if row.error} == {
        "hangs.png": "timeout: reading it took longer than 1 s"
    }


def test_a_worker_whose_processes_are_killed_while_they_start_goes_on_and_starts_others(
    settings: Settings, start_worker: StartWorker
) -> None:
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < 4:
            for parent in children(os.getpid(), b"worker.app"):
                for child in set(children(parent)).difference(killed):
                    os.kill(child, signal.SIGKILL)
                    killed.append(child)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    worker = start_worker()
    killer.join(timeout=60)
    assert len(killed) >= 4
    assert worker.poll() is None
    job = published(settings, batch("0.png"))
    ledger = Ledger(settings)
    wait_for(lambda: ledger.status(job).over, "the job's end")
    assert [row.label for row in rows(ledger, job)] == ["8"]
