"""A wheel and a source archive of the checkout's files, built once; and an environment with the wheel."""

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.packaging.tree import tracked

# Each hook runs in its own process, because setuptools changes sys.argv.
_BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that contains the wheel and the source archive.

    They are built from a copy, because setuptools does not remove build/, and the next wheel would contain its files.
    """
    folder = tmp_path_factory.mktemp("build")
    for path in tracked():
        (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / "source" / path)
    for hook in ("build_wheel", "build_sdist"):
        command = [sys.executable, "-c", _BUILD, hook, str(folder)]
        done = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def installed(built: Path) -> Path:
    """Return the `bin` folder of an environment that has the wheel, and cannot import the checkout."""
    venv.create(built / "venv", symlinks=True)
    python = built / "venv" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True)
    (packages,) = (built / "venv" / "lib").glob("python*/site-packages")
    # The dependencies come from the environment of these tests. Python does not read .pth files in a folder that a .pth
    # file names, so the checkout is not found.
    (packages / "dependencies.pth").write_text("".join(f"{folder}\n" for folder in site.getsitepackages()))
    return python.parent


@pytest.fixture
def environment() -> dict[str, str]:
    """Return a user's environment: no PYTHONPATH, one worker process, and the redis-server that set-up installed."""
    path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIGEONHOLE"))} | {
        "PATH": path,
        "PIGEONHOLE_PROCESSES": "1",
    }
