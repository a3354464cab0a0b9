"""`make demo` prints what it does, and the commands that it suggests work as printed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import demo
from tests.conftest import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the files of a checkout that the demo uses, and with its environment."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/demo.py", "samples-labels.csv"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def test_the_demo_explains_itself_and_its_suggested_commands_work(checkout: Path) -> None:
    program = [sys.executable, str(checkout / "scripts" / "demo.py")]
    for _ in range(2):  # the second time there is a results.csv
        run = subprocess.run(program, capture_output=True, text=True, timeout=100, check=True)
        assert run.stdout.startswith(demo.BEFORE)
        assert "Of the 200 labelled digits 198 are right." in run.stdout
        assert run.stdout.endswith(f"\n{demo.NEXT}\n")
    commands = [line.strip() for line in demo.NEXT.splitlines() if line.startswith("  ")]
    assert len(commands) == 4
    run = subprocess.run(
        ["sh", "-e", "-c", "\n".join(commands)], cwd=checkout, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "samples/003b50.png,8" in run.stdout
    assert (checkout / "report.html").stat().st_size > 100_000


def test_the_demos_texts_fit_a_terminal() -> None:
    assert max(map(len, [*demo.BEFORE.splitlines(), *demo.NEXT.splitlines()])) <= 80
