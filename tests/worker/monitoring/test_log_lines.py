"""A worker logs one line when it is ready, one for each batch, and a few while Redis is unreachable."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.ledger.workers import Workers
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.settings import Settings
from tests.conftest import ROOT, wait_for
from tests.ledger.conftest import Server
from tests.worker.conftest import published

#: A sitecustomize.py: all processes but the first load their model, and then wait for a file.
_LATE = """
import os, time
import pigeonhole.models.classifier as classifier

load = classifier.Classifier.load

def late(*arguments):
    loaded = load(*arguments)
    try:
        os.close(os.open({first!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        while not os.path.exists({go!r}):
            time.sleep(0.01)
    return loaded

classifier.Classifier.load = late
"""


def batch(*names: str) -> Batch:
    return Batch((Group("file", "samples/", "samples/", names),))


def lines(log: Path) -> list[str]:
    """Return the log's records, without Celery's warning about root."""
    return [line for line in log.read_text().splitlines() if re.match(r"\[[\d-]+ [\d:,]+: ", line)]


def test_a_worker_logs_one_line_when_ready_and_one_for_each_batch(tmp_path: Path) -> None:
    server, log, go = Server(tmp_path), tmp_path / "log", tmp_path / "go"
    settings = Settings(broker_url=server.url, image_root=str(ROOT), processes=2)
    (tmp_path / "sitecustomize.py").write_text(_LATE.format(first=str(tmp_path / "first"), go=str(go)))
    environment = os.environ | settings.to_environment() | {"PYTHONPATH": str(tmp_path)}
    with log.open("wb") as file:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pigeonhole", "worker"], env=environment, stdout=file, stderr=file
        )
    try:
        workers, ledger = Workers(settings), Ledger(settings)
        wait_for(lambda: any(one.processes == 1 for one in workers.alive()), f"one process: {log}")
        assert "ready" not in log.read_text()
        go.touch()
        wait_for(lambda: "ready" in log.read_text(), f"the line `ready`: {log}")
        assert [one.processes for one in workers.alive()] == [2], "announced with the line, not seconds later"
        digest = checkpoints.describe(checkpoints.find("digits")).digest[:12]
        (ready,) = lines(log)
        for part in ("digits", digest, "cpu (onnxruntime/f32)", "2 processes"):
            assert part in ready

        jobs = [published(settings, batch("003b50.png", "empty.png")) for _ in range(3)]
        wait_for(lambda: len(lines(log)) > len(jobs), f"a line for each batch: {log}")
        assert all(ledger.status(job).over for job in jobs)
        of_batches = lines(log)[1:]
        assert len(of_batches) == len(jobs)
        for job in jobs:
            assert sum(bool(re.search(rf"job {job}: batch 0: 2 images.*\b1 error", line)) for line in of_batches) == 1

        before = len(lines(log))
        server.kill()
        wait_for(lambda: "Connection refused" in log.read_text(), f"the line about the lost Redis: {log}")
        Path(server.socket).unlink()
        server = Server(tmp_path)
        wait_for(lambda: "reconnected to Redis" in log.read_text(), f"the line about the new connection: {log}")
        outage = lines(log)[before:]
        assert all(f"Redis at {server.url}" in line or "Connection to broker lost" in line for line in outage), outage
        assert len(outage) <= 6
        assert not re.search(r"<class|\\n", log.read_text())
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
    finally:
        worker.kill()
        worker.wait()
        server.kill()


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_higher_log_levels_hide_the_lines_about_success(settings: Settings, level: str) -> None:
    command = [sys.executable, "-m", "pigeonhole", "worker", "--processes", "1", "--log-level", level]
    environment = os.environ | settings.to_environment()
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: any(one.processes for one in Workers(settings).alive()), "the worker")
        job = published(settings, batch("003b50.png"))
        wait_for(lambda: Ledger(settings).status(job).over, "the job")
        worker.send_signal(signal.SIGTERM)
        _, logged = worker.communicate(timeout=30)
    finally:
        worker.kill()
    assert re.findall(r"(?:INFO|ready|job ).*", logged) == []
