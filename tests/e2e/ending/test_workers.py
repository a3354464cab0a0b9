"""How workers end, and how jobs end with their workers."""

import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import VERSION
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.settings import Settings
from tests import decoder_faults
from tests.conftest import children, wait_for
from tests.decoder_faults import slow
from tests.e2e.conftest import Run, StartWorker
from tests.messages import check_message


def test_killed_processes_lose_no_row_and_duplicate_none(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    (home / "list").write_text("\n".join(f"samples/{path.name}" for path in (home / "samples").iterdir()) + "\n")
    (home / "list").write_text((home / "list").read_text() * 20)
    worker = start_worker(PYTHONPATH=slow(home.parent / "slow"))
    job = brokered("submit", "@list", "-q").stdout.decode().strip()
    ledger = Ledger(settings)
    for _ in range(2):
        wait_for(lambda: ledger.status(job).batches_claimed > 0 or ledger.status(job).over, "a claimed batch")
        for child in children(worker.pid):
            os.kill(child, signal.SIGKILL)
    run = brokered("wait", job, "--format", "csv", "-q")
    assert run.returncode == 3
    listed = (home / "list").read_text().splitlines()
    assert [line.split(",")[0] for line in run.stdout.decode().splitlines()[1:]] == listed
    assert ledger.status(job).done == len(listed)


def test_a_terminated_worker_finishes_its_batch(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    (home / "list").write_text("".join(f"samples/{path.name}\n" for path in (home / "samples").iterdir()) * 20)
    worker = start_worker(PYTHONPATH=slow(home.parent / "slow"))
    job = brokered("submit", "@list", "-q").stdout.decode().strip()
    ledger = Ledger(settings)
    wait_for(lambda: ledger.status(job).batches_claimed > 0, "a claimed batch")
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    status = ledger.status(job)
    assert status.batches_claimed == 0
    assert status.done > 0


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"PIGEONHOLE_MODEL": "missing"}, ["'missing'"]),
        ({"PIGEONHOLE_IMAGE_ROOT": "/no/such"}, ["PIGEONHOLE_IMAGE_ROOT", "'/no/such'"]),
        ({"PIGEONHOLE_BROKER_URL": ""}, ["--broker URL", "PIGEONHOLE_BROKER_URL"]),
        ({"PIGEONHOLE_CHUNKS": "8"}, ["PIGEONHOLE_CHUNKS", "did you mean PIGEONHOLE_CHUNK?"]),
    ],
)
@pytest.mark.parametrize("program", [["-m", "celery", "-A", "worker.app", "worker"], ["-m", "pigeonhole", "worker"]])
def test_a_worker_with_invalid_settings_exits_with_a_message(
    settings: Settings, program: list[str], changes: dict[str, str], parts: list[str]
) -> None:
    environment = os.environ | settings.to_environment() | changes
    run = subprocess.run([sys.executable, *program], env=environment, capture_output=True, timeout=60, check=False)
    assert run.returncode == 2
    check_message(run.stderr.decode(), "pigeonhole worker: ", *parts)
    assert "Traceback" not in run.stderr.decode()


@pytest.mark.parametrize("program", [["-m", "celery", "-A", "worker.app", "worker"], ["-m", "pigeonhole", "worker"]])
def test_a_worker_with_a_damaged_checkpoint_exits_with_a_message(
    settings: Settings, tmp_path: Path, program: list[str]
) -> None:
    data = bytearray(checkpoints.find("digits").read_bytes())
    data[-100] ^= 1  # the header is valid, so only loading the weights fails
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(data)
    environment = os.environ | settings.to_environment() | {"PIGEONHOLE_MODEL": str(damaged)}
    run = subprocess.run([sys.executable, *program], env=environment, capture_output=True, timeout=60, check=False)
    assert run.returncode == 2
    assert "pigeonhole worker:" in (run.stderr + run.stdout).decode()


def test_only_the_image_that_kills_its_process_is_an_error(
    home: Path, tmp_path: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    good = [f"samples/{path.name}" for path in sorted((home / "samples").glob("0*.png"))[:11]]
    listed = [*good[:5], "killer.png", *good[5:]]
    (home / "killer.png").write_bytes(decoder_faults.image(home / "samples" / "003b50.png", "signal=SIGKILL"))
    (home / "list").write_text("\n".join(listed) + "\n")
    start_worker(PYTHONPATH=decoder_faults.install(tmp_path), PIGEONHOLE_PROCESSES="2")
    job = brokered("submit", "@list", "-q").stdout.decode().strip()
    run = brokered("wait", job, "--format", "csv", "-q")
    assert run.returncode == 3
    rows = [line.split(",") for line in run.stdout.decode().splitlines()[1:]]
    assert [row[0] for row in rows] == listed
    assert [row[0] for row in rows if row[1] == ""] == ["killer.png"]
    (error,) = [row[5] for row in rows if row[0] == "killer.png"]
    check_message(error, "crashed: ", "SIGKILL")


def test_a_batch_of_an_unknown_version_is_reported_and_stays_pending(
    settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    job = brokered("submit", "samples/003b50.png", "-q").stdout.decode().strip()
    ledger = Ledger(settings)
    newer = zlib.compress(json.dumps({"v": 9, "images": ["a.png"]}).encode())
    ledger.client.hset(f"{settings.prefix}:job:{job}:refs", 0, newer)
    start_worker()
    ended = brokered("wait", job, "-q")
    assert ended.returncode == 1
    reason = ("version 9", f"version {VERSION}", "run the same version")
    check_message(ended.stderr.decode(), f"job {job}", *reason)
    for shown in (brokered("status", job), brokered("status")):
        assert shown.returncode == 0
        check_message(shown.stderr.decode(), "1 dead letter", f"job {job}, batch 0: ", *reason)
    assert ledger.status(job).images - ledger.status(job).done == 1, "the batch is still pending"
