"""A pool process sends its parent the signal to end, and signals no other process."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pigeonhole.settings import Settings
from worker.parent import register

PROGRAM = "import worker.parent; worker.parent.end_parent()"


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Yield the signals that this process, the parent of the test's processes, receives instead of ending."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: numbers.append(number))
    monkeypatch.setenv("WORKER_PARENT_PID", "unknown")
    yield numbers
    signal.signal(signal.SIGUSR2, before)


def test_the_parent_that_started_a_process_gets_the_signal_to_end(received: list[int]) -> None:
    register()
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    assert received == [signal.SIGUSR2]


@pytest.mark.parametrize("registered", ["", "1", "another"])
def test_a_process_that_has_another_parent_meanwhile_sends_no_signal(received: list[int], registered: str) -> None:
    variable = {"WORKER_PARENT_PID": str(os.getppid()) if registered == "another" else registered}
    subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | variable, check=True)
    assert received == []


def test_a_workers_parent_imports_neither_numpy_nor_pillow_nor_a_runtime(
    settings: Settings, tmp_path: Path, start_worker: Callable[..., object]
) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os, sys\n"
        "from pathlib import Path\n"
        "heavy = 'numpy', 'PIL', 'torch', 'onnxruntime', 'safetensors'\n"
        f"named = Path({str(imported)!r}) / str(os.getpid())\n"
        "atexit.register(lambda: named.write_text(','.join(name for name in heavy if name in sys.modules)))\n"
    )
    imported.mkdir()
    worker = start_worker(PYTHONPATH=str(tmp_path))
    assert isinstance(worker, subprocess.Popen)
    worker.terminate()
    assert worker.wait(30) == 0
    assert (imported / str(worker.pid)).read_text() == ""
