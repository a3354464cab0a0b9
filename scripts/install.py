"""Run `pip install` with these arguments, and show its progress in one line; scripts/setup.sh uses it.

It runs in an environment that has only pip. If pip fails, its whole output is in .venv/setup.log.
"""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

LOG = Path(sys.prefix) / "setup.log"
#: The number of pip's last lines to show if it fails without a line of "ERROR".
_LAST = 10
#: The smallest file, in megabytes, whose download is printed without a terminal.
_LARGE = 10
_MEGABYTES = {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}
_DOWNLOAD = re.compile(r"\s*Downloading (?:\S*/)?([^\s/-]+)-\S+ \(([\d.]+) (bytes|kB|MB|GB)\)")


class Installation:
    """The progress of pip, read from its output.

    Args:
        clock: returns a time in seconds that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begun = clock, clock()
        self._size = 0.0
        self._doing = "looking for packages"
        self.installed = ""

    def read(self, line: str) -> str:
        """Read a line of pip's output, and return the text to print without a terminal, which may be empty."""
        if match := _DOWNLOAD.match(line):
            name, number, unit = match.groups()
            size = float(number) * _MEGABYTES[unit]
            self._size += size
            self._doing = f"downloading {name} ({number} {unit})"
            return f"setup: {self._doing}" if size >= _LARGE else ""
        if line.startswith("Progress "):  # pip 24.1 and later: bytes of the current file
            _, done, _, size_of_it, *_ = [*line.split(), "", "", ""]
            if int(size_of_it or 0):
                self._doing = re.sub(r"( \d+%)?$", f" {int(done) / int(size_of_it):.0%}", self._doing, count=1)
        elif line.startswith("Installing collected packages: "):
            self._doing = f"installing {_packages(line.count(',') + 1)}"
            return f"setup: {self._doing}"
        elif line.startswith("Successfully installed "):
            self.installed = f"setup: {_packages(len(line.split()) - 2)} installed in {self._seconds()}"
            self.installed += f", {self._size:.0f} MB downloaded" if self._size else ""
        return ""

    def line(self) -> str:
        """Return the progress as a line for a terminal."""
        return f"setup: {self._size:.0f} MB, {self._seconds()}: {self._doing}"

    def _seconds(self) -> str:
        return f"{self._clock() - self._begun:.0f} s"


def main(arguments: list[str]) -> int:
    """Run pip, and return its exit code."""
    bar = "raw" if _pip_version() >= (24, 1) else "off"
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", bar, *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    lines = list[str]()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as pip:
        try:
            installation = _follow(pip, lines.append)
        except KeyboardInterrupt:
            pip.wait()
            print("\nsetup: interrupted; run the same command again", file=sys.stderr)
            return 130
    if pip.returncode:
        LOG.write_text("\n".join([*lines, ""]))
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-_LAST:]
        print(*errors, f"setup: pip failed; its whole output is in {LOG}", sep="\n", file=sys.stderr)
    elif installation.installed:
        print(installation.installed)
    return pip.returncode


def _follow(pip: "subprocess.Popen[bytes]", log: Callable[[str], object]) -> Installation:
    """Read pip's output to its end, and show its progress."""
    assert pip.stdout is not None
    installation, rest, redraws = Installation(), b"", sys.stdout.isatty()
    while True:
        if redraws:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{installation.line():{width}.{width}}", end="", flush=True)
        if not select.select([pip.stdout], [], [], 1.0)[0]:
            continue
        data = os.read(pip.stdout.fileno(), 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in (line.decode(errors="replace") for line in lines):
            log(line)
            shown = installation.read(line)
            if shown and not redraws:
                print(shown, flush=True)
    if redraws:
        print(f"\r{'':{width}}\r", end="", flush=True)
    return installation


def _packages(number: int) -> str:
    return "1 package" if number == 1 else f"{number} packages"


def _pip_version() -> tuple[int, int]:
    import pip

    major, minor, *_ = pip.__version__.split(".")
    return int(major), int(minor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
