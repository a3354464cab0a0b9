"""The installed program runs in any working folder, and imports nothing from there."""

import csv
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SAMPLES = sorted((ROOT / "samples").glob("??????.png"))[:2]
COMMANDS = {"script": ("pigeonhole",), "module": ("python", "-m", "pigeonhole")}
_FILES = """
import pigeonhole, producer, training, worker
print(*(package.__file__ for package in (pigeonhole, producer, training, worker)), sep="\\n")
"""


@pytest.fixture(params=["empty", "with modules of the same names"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a working folder: an empty one, or one whose own modules must not be imported."""
    if request.param != "empty":
        for module in ("producer.py", "worker/__init__.py", "worker/app.py", "training/__init__.py", "celery.py"):
            (tmp_path / module).parent.mkdir(exist_ok=True)
            (tmp_path / module).write_text("raise RuntimeError(f'the user\\'s own {__name__} was imported')\n")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_images_are_classified_from_any_folder(
    command: tuple[str, ...], folder: Path, installed: Path, environment: dict[str, str]
) -> None:
    line = [str(installed / command[0]), *command[1:], "classify", *map(str, SAMPLES), "-o", "rows.csv"]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    with (folder / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(path) for path in SAMPLES]
    with (ROOT / "samples-labels.csv").open(newline="") as file:
        labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
    assert [row["label"] for row in rows] == [labels[f"samples/{path.name}"] for path in SAMPLES]


def test_the_environment_has_the_packages_of_the_wheel(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    line = [str(installed / "python"), "-c", _FILES]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert all(Path(file).is_relative_to(installed.parent) for file in done.stdout.splitlines())
