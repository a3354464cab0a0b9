"""`python -m worker.health`, the health check of a container."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from tests.security.target import Target

ON_ANOTHER_HOST = Announcement(
    name=f"celery@{socket.gethostname()}", model="digits", digest="d", version="1", processes=1, host="elsewhere"
)


def health(settings: Settings) -> tuple[int, str]:
    """Run the health check as a container does; return its exit code and its output."""
    run = subprocess.run(
        [sys.executable, "-m", "worker.health"],
        env=os.environ | settings.to_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return run.returncode, run.stdout


def test_a_worker_of_any_name_is_healthy_while_it_serves(settings: Settings, tmp_path: Path) -> None:
    worker = Target(settings, tmp_path, "--name", "old@%h")
    try:
        assert [one.name for one in Workers(settings).alive()] == [f"old@{socket.gethostname()}"]
        assert health(settings) == (0, "healthy\n")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(timeout=30) == 0
        code, output = health(settings)
    finally:
        worker.close()
    assert (code, output.partition(":")[0]) == (1, "unhealthy")


def test_a_worker_on_another_machine_is_not_healthy_here(settings: Settings) -> None:
    Workers(settings).announce(ON_ANOTHER_HOST)
    assert health(settings)[0] == 1
