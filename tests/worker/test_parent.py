"""A pool process that asks its parent to end, and reaches no other process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from worker.parent import register

PROGRAM = "import worker.parent; worker.parent.end_parent()"


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Return the signals that this process, the parent of what the test starts, receives instead of ending."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: numbers.append(number))
    monkeypatch.setenv("WORKER_PARENT_PID", "unknown")
    yield numbers
    signal.signal(signal.SIGUSR2, before)


def test_the_parent_that_started_a_process_is_told_to_end(received: list[int]) -> None:
    register()
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    assert received == [signal.SIGUSR2]


@pytest.mark.parametrize("registered", ["", "1", "another"])
def test_a_process_that_has_got_another_parent_meanwhile_sends_nothing(received: list[int], registered: str) -> None:
    variable = {"WORKER_PARENT_PID": str(os.getppid()) if registered == "another" else registered}
    subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | variable, check=True)
    assert received == []
