"""Real workers lose processes by signals, by images, and by the time limit."""

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.errors import ExitCode
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.wire.messages import Batch, Group, Row
from pigeonhole.settings import Settings
from tests import decoder_faults
from tests.conftest import children, wait_for
from tests.worker.conftest import published

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, root: Path) -> Settings:
    images, original = tmp_path / "images", root / "samples" / "003b50.png"
    images.mkdir()
    for number in range(10):
        (images / f"{number}.png").write_bytes(original.read_bytes())
    (images / "slow.png").write_bytes(decoder_faults.image(original, "sleep=0.3"))
    faults = {"hangs": "sleep=600", "killer": "network=signal:SIGKILL"}
    faults["killed"] = f"killed=4,{tmp_path / 'killed'}"
    for name, fault in faults.items():
        (images / f"{name}.png").write_bytes(decoder_faults.image(original, fault))
    return replace(settings, image_root=str(images))


def batch(*names: str) -> Batch:
    return Batch((Group("file", "", "", names),))


def rows(ledger: Ledger, job: str) -> list[Row]:
    return [row for done in ledger.read(job, 0, 8) for row in done.rows()]


def quarantined(settings: Settings, name: str) -> str:
    """Submit a job of one image, lose it once, and return the job's id."""
    ledger = Ledger(settings)
    job = ledger.create("digits", ("test",))
    piece = ledger.add(job, 0, batch(name))
    assert piece is not None
    ledger.close(job, 1)
    ledger.claim(job, piece)
    for part in ledger.lose(job, piece, "digits"):
        Queue(settings).publish("digits", job, part)
    return job


def losses(tmp_path: Path) -> int:
    """Return the number of lost processes in the worker's log."""
    lines = (tmp_path / "celery@test.log").read_text().splitlines()
    return len({line for line in lines if "a process was lost with batch" in line})  # Celery may log one twice


def runs(pid: int) -> bool:
    """Return whether a process runs; a zombie has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def test_a_batch_whose_process_is_killed_is_classified_again_within_two_seconds(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    killed_worker = start_worker("celery@killed", PYTHONPATH=decoder_faults.install(tmp_path))
    names = ["slow.png"] * 60
    ledger = Ledger(settings)
    job = published(settings, batch(*names))
    wait_for(lambda: ledger.status(job).batches_claimed == 1, "the claim of the batch")
    start_worker("celery@other", PYTHONPATH=decoder_faults.install(tmp_path))
    (child,) = children(killed_worker.pid)
    os.kill(child, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: 0 < ledger.status(job).batches_waiting < 16, "the split, and the claim of a part")
    assert time.monotonic() - killed < 2
    wait_for(lambda: ledger.status(job).over, "the job's end")
    assert [(row.path, row.label) for row in rows(ledger, job)] == [(name, "8") for name in names]


def test_a_batch_of_many_slow_images_is_not_taken_for_a_hang(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    start_worker(PYTHONPATH=decoder_faults.install(tmp_path), PIGEONHOLE_BATCH_SECONDS="3", PIGEONHOLE_CHUNK="2")
    names = ["slow.png"] * 15  # 4.5 s
    ledger = Ledger(settings)
    job = published(settings, batch(*names))
    wait_for(lambda: ledger.status(job).over, "the job's end")
    assert [(row.path, row.label) for row in rows(ledger, job)] == [(name, "8") for name in names]
    assert losses(tmp_path) == 0


def test_a_batch_that_exceeds_its_time_has_one_error_row_for_the_image_that_hangs(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    start_worker(PYTHONPATH=decoder_faults.install(tmp_path), PIGEONHOLE_PROCESSES="2", PIGEONHOLE_BATCH_SECONDS="3")
    names = [f"{number}.png" for number in range(10)]
    names.insert(4, "hangs.png")
    ledger = Ledger(settings)
    job = published(settings, batch(*names))
    wait_for(lambda: ledger.status(job).over, "the job's end")
    found = rows(ledger, job)
    assert [row.path for row in found] == names
    (failed,) = [row for row in found if row.error]
    assert failed.path == "hangs.png"
    assert failed.error.startswith("timeout: ")
    assert "1 s" in failed.error


def test_an_image_that_crashes_the_network_costs_no_more_processes_than_one_that_crashes_the_decoder(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    start_worker(PYTHONPATH=decoder_faults.install(tmp_path), PIGEONHOLE_PROCESSES="2")
    names = [f"{number % 10}.png" for number in range(64)]
    names[17] = "killer.png"
    ledger = Ledger(settings)
    job = published(settings, batch(*names))
    wait_for(lambda: ledger.status(job).over, "the job's end")
    found = rows(ledger, job)
    assert [row.path for row in found] == names
    (failed,) = [row for row in found if row.error]
    assert failed.path == "killer.png"
    assert failed.error.startswith("crashed: ")
    assert "SIGKILL" in failed.error
    assert 0 < losses(tmp_path) <= math.log2(len(names)) + 4


def test_an_isolation_run_ends_with_its_pool_process(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    worker = start_worker(PYTHONPATH=decoder_faults.install(tmp_path))
    quarantined(settings, "hangs.png")
    (child,) = children(worker.pid)
    wait_for(lambda: bool(children(child, b"worker.processing.isolation")), "the isolation run")
    (run,) = children(child, b"worker.processing.isolation")
    os.kill(child, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: not runs(run), "the end of the isolation run")
    assert time.monotonic() - killed < 5


def test_an_image_whose_isolation_runs_are_killed_from_outside_is_classified(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    start_worker(PYTHONPATH=decoder_faults.install(tmp_path))
    ledger, job = Ledger(settings), quarantined(settings, "killed.png")
    wait_for(lambda: ledger.status(job).over, "the job's end")
    assert len(list((tmp_path / "killed").iterdir())) == 4
    assert [(row.label, row.error) for row in rows(ledger, job)] == [("8", "")]
    assert losses(tmp_path) == 0


def test_a_worker_whose_processes_are_killed_while_they_start_starts_others(
    settings: Settings, start_worker: StartWorker
) -> None:
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < 4:
            for parent in children(os.getpid(), b"pigeonhole\0worker"):
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


@pytest.mark.parametrize("cause", ['RuntimeError("CUDA error: out of memory")', 'OSError(5, "I/O error")'])
def test_a_worker_whose_checkpoint_can_not_be_loaded_ends_with_the_cause(
    settings: Settings, tmp_path: Path, cause: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import pigeonhole.models.classifier\n\n\ndef load(*_):\n    raise {cause}\n\n\n"
        "pigeonhole.models.classifier.Classifier.load = load\n"
    )
    environment = os.environ | settings.to_environment() | {"PIGEONHOLE_PROCESSES": "2", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
    job = published(settings, batch("0.png"))
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == ExitCode.USAGE
    name, reason = cause.partition("(")[0], cause.split('"')[1]
    assert re.search(rf"pigeonhole worker: .*'digits'.*{name}: .*{reason}", ended.stderr)
    assert Ledger(settings).status(job).batches_claimed == 0


def test_a_process_with_an_unexpected_error_takes_no_further_message(
    settings: Settings, tmp_path: Path, start_worker: StartWorker
) -> None:
    # The first process can't start a thread, so that each of its batches fails; its replacement works.
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nimport pigeonhole.ledger.wire.messages as messages\n\noriginal = messages.Batch.located\n\n\n"
        "def located(self):\n"
        f"    first = {str(tmp_path / 'first')!r}\n"
        "    if not os.path.exists(first):\n"
        "        open(first, 'w').write(str(os.getpid()))\n"
        "    if open(first).read() == str(os.getpid()):\n"
        '        raise RuntimeError("can\'t start new thread")\n'
        "    return original(self)\n\n\n"
        "messages.Batch.located = located\n"
    )
    start_worker(PYTHONPATH=str(tmp_path))
    names = [f"{number}.png" for number in range(4)]
    ledger = Ledger(settings)
    jobs = [published(settings, batch(*names)) for _ in range(3)]
    wait_for(lambda: all(ledger.status(job).over for job in jobs), "the jobs' end")
    assert [ledger.status(job).errors for job in jobs] == [0, 0, 0]
    assert losses(tmp_path) == 1
