"""Runs the program as a user does, in its own process and a folder with images."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.settings import Settings

SAMPLES = Path(__file__).resolve().parent.parent.parent / "samples"
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The user's folder, with the shipped samples in it."""
    shutil.copytree(SAMPLES, tmp_path / "home" / "samples")
    return tmp_path / "home"


@pytest.fixture
def settings(settings: Settings, home: Path) -> Settings:
    """Settings whose image root is the user's folder, as on two machines that mount it."""
    return replace(settings, image_root=str(home))


def command(*arguments: str) -> list[str]:
    """The program's command line."""
    return [sys.executable, "-m", "pigeonhole", *arguments]


@pytest.fixture
def embedded(home: Path) -> Run:
    """Runs the program in the user's folder, with no broker set."""

    def run(*arguments: str, **changes: object) -> "subprocess.CompletedProcess[bytes]":
        options: dict[str, object] = {"cwd": home, "capture_output": True, "timeout": 100, "check": False}
        return subprocess.run(command(*arguments), **(options | changes))  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture
def brokered(embedded: Run, settings: Settings) -> Run:
    """Runs the program in the user's folder, with the test's Redis as the broker."""

    def run(*arguments: str, **changes: object) -> "subprocess.CompletedProcess[bytes]":
        return embedded(*arguments, env=os.environ | settings.to_environment(), **changes)

    return run
