"""Interrupted submissions that are completed with `submit --job`."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from tests.conftest import wait_for
from tests.e2e.conftest import SAMPLES, Run, StartWorker, command
from tests.e2e.resume.runs import create_many_images, paths
from tests.messages import check_message


@pytest.fixture
def cut_off(home: Path, settings: Settings) -> str:
    """Return a job whose submission was killed after its first batches."""
    create_many_images(home)
    (home / "list").write_text("".join(f"{path}\n" for path in sorted(map(str, Path(home / "many").iterdir()))))
    feed = (home / "list").read_bytes()
    run = subprocess.Popen(
        command("submit", "-"), cwd=home, env=os.environ | settings.to_environment(), stdin=subprocess.PIPE
    )
    assert run.stdin is not None
    run.stdin.write(feed[: len(feed) // 2])
    run.stdin.flush()
    ledger = Ledger(settings)
    wait_for(lambda: any(status.batches > 2 for status in ledger.statuses()), "the first batches")
    run.kill()
    run.wait()
    run.stdin.close()
    (status,) = ledger.statuses()
    return status.job


def test_a_killed_submission_is_completed_by_submitting_the_same_list(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker, cut_off: str
) -> None:
    feed = (home / "list").read_bytes()
    listed = feed.decode().splitlines()
    before = json.loads(brokered("status", cut_off, "--json").stdout)
    assert before["submitting"]
    assert 0 < before["images"] < len(listed)
    assert b" so far\n" in brokered("status", cut_off).stdout

    other = brokered("submit", "--job", cut_off, "samples", "many")
    assert other.returncode == 2
    check_message(other.stderr.decode(), f"job {cut_off}", "other images")

    finished = brokered("submit", "--job", cut_off, "-", input=feed)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.decode() == f"{cut_off}\n"
    check_message(finished.stderr.decode(), f"{len(listed):,} images", f"{before['images']:,} of them before")
    again = brokered("submit", "--job", cut_off, "-", input=feed)
    assert again.returncode == 0
    check_message(again.stderr.decode(), f"job {cut_off}", f"all of its {len(listed):,} images")
    fewer = brokered("submit", "--job", cut_off, "-", input=b"\n".join(feed.splitlines()[:-1]))
    assert fewer.returncode == 2
    assert b"Traceback" not in fewer.stderr

    start_worker()
    assert brokered("wait", cut_off, "-o", "rows.csv", "-q").returncode == 0
    assert paths(home / "rows.csv") == listed


def test_an_interrupted_submission_names_the_command_that_completes_it(
    home: Path, settings: Settings, brokered: Run
) -> None:
    environment = os.environ | settings.to_environment()
    line = command("submit", "-0", "-", "samples/it's")
    (home / "samples" / "it's").write_bytes((SAMPLES / "003b50.png").read_bytes())
    run = subprocess.Popen(line, cwd=home, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdin is not None
    run.stdin.write(b"samples/003b50.png\0" * 100)
    run.stdin.flush()
    wait_for(lambda: any(status.images for status in Ledger(settings).statuses()), "the first batch")
    run.send_signal(signal.SIGINT)
    run.wait(timeout=30)  # the list is still open, so only the first batches are submitted
    _, stderr = run.communicate()
    (status,) = Ledger(settings).statuses()
    check_message(
        stderr.decode(),
        "interrupted",
        "64 images so far",
        f"""`pigeonhole submit --job {status.job} -0 - 'samples/it'"'"'s'`""",
        f"`pigeonhole cancel {status.job}`",
    )


def test_submitting_to_an_unknown_job_is_refused(brokered: Run) -> None:
    run = brokered("submit", "--job", "20270115-080000-abc123", "samples")
    assert run.returncode == 2
    assert b"no job '20270115-080000-abc123'" in run.stderr
