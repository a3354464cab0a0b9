"""Fixtures that run the program as a user does, in its own process and a folder with images."""

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.settings import Settings
from tests.decoder_faults import slow

SAMPLES = Path(__file__).resolve().parent.parent.parent / "samples"
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the user's folder, which contains the shipped samples."""
    shutil.copytree(SAMPLES, tmp_path / "home" / "samples")
    return tmp_path / "home"


@pytest.fixture
def settings(settings: Settings, home: Path) -> Settings:
    """Return settings whose image root is the user's folder, as on two machines that mount it."""
    return replace(settings, image_root=str(home))


def command(*arguments: str) -> list[str]:
    """Return a command line of the program."""
    return [sys.executable, "-m", "pigeonhole", *arguments]


@pytest.fixture
def embedded(home: Path) -> Run:
    """Return a function that runs the program in the user's folder, without a broker."""

    def run(*arguments: str, **changes: object) -> "subprocess.CompletedProcess[bytes]":
        options: dict[str, object] = {"cwd": home, "capture_output": True, "timeout": 100, "check": False}
        return subprocess.run(command(*arguments), **(options | changes))  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture
def brokered(embedded: Run, settings: Settings) -> Run:
    """Return a function that runs the program in the user's folder, with the test's Redis as the broker."""

    def run(*arguments: str, **changes: object) -> "subprocess.CompletedProcess[bytes]":
        return embedded(*arguments, env=os.environ | settings.to_environment(), **changes)

    return run


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Yield the temporary folder of embedded runs; its path is short enough for a socket."""
    folder = Path("/tmp") / f"ph-{os.getpid()}-{abs(hash(tmp_path)) % 10**8}"
    folder.mkdir()
    yield folder
    folder.rmdir()


def start(home: Path, temporary: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": slow(home.parent / "slow")}
    return subprocess.Popen(command(*arguments), cwd=home, env=environment, stderr=subprocess.PIPE)


def leftovers(folder: Path) -> list[str]:
    """Return embedded folders, and the processes that were started for them."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended meanwhile
        if str(folder) in line:
            running.append(line)
    return running + [str(path) for path in folder.iterdir()]


def rows_of(data: bytes) -> list[dict[str, str]]:
    """Read rows of CSV; surrogates stand for bytes that are not UTF-8."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))
