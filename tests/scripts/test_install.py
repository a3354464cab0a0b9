"""The set-up script shows the progress and the errors of pip."""

import subprocess
import sys
import zipfile
from pathlib import Path

from scripts.install import Installation
from tests.conftest import ROOT

INSTALL = ROOT / "scripts" / "install.py"


def test_the_progress_line_shows_megabytes_seconds_and_the_current_step() -> None:
    seconds = iter(range(100))
    installation = Installation(lambda: float(next(seconds)))
    assert installation.line() == "setup: 0 MB, 1 s: looking for packages"
    assert installation.read("Collecting numpy>=2 (from example==0.2.0)") == ""
    assert installation.read("  Downloading click-8.5.1-py3-none-any.whl (126 kB)") == ""
    large = "  Downloading https://index.example/w/numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.6 MB)"
    assert installation.read(large) == "setup: downloading numpy (16.6 MB)"
    assert installation.read("Progress 8300000 of 16600000") == ""
    assert installation.line() == "setup: 17 MB, 2 s: downloading numpy (16.6 MB) 50%"
    assert installation.read("Progress 16600000 of 16600000") == ""
    assert installation.line() == "setup: 17 MB, 3 s: downloading numpy (16.6 MB) 100%"
    assert installation.read("Installing collected packages: numpy, click") == "setup: installing 2 packages"
    installation.read("Successfully installed click-8.5.1 numpy-2.4.6")
    assert installation.installed == "setup: 2 packages installed in 4 s, 17 MB downloaded"


def install(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, INSTALL, *arguments], capture_output=True, text=True, timeout=100, check=False
    )


def test_a_package_is_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny.py", "")
        file.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        file.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("tiny-1.0.dist-info/RECORD", "")
    run = install("--no-index", "--target", str(tmp_path / "there"), str(wheel))
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("setup: installing 1 package\nsetup: 1 package installed in ")
    assert (tmp_path / "there" / "tiny.py").exists()


def test_errors_of_pip_are_shown() -> None:
    run = install("--no-index", "no-package-of-ours-has-this-name")
    assert run.returncode == 1
    assert "ERROR: No matching distribution found for no-package-of-ours-has-this-name\n" in run.stderr
    assert "setup: pip failed" in run.stderr
    assert "setup.log" in run.stderr
