"""Runs over many images, for tests that interrupt them."""

import signal
import subprocess
from pathlib import Path

from tests.conftest import wait_for
from tests.e2e.conftest import rows_of


def create_many_images(home: Path, copies: int = 40) -> list[str]:
    """Create a folder with thousands of images; return them in the order of their submission."""
    image = (home / "samples" / "003b50.png").read_bytes()
    (home / "many").mkdir()
    for number in range(64 * copies):
        (home / "many" / f"{number:05}.png").write_bytes(image)
    return [f"many/{number:05}.png" for number in range(64 * copies)]


def paths(file: Path) -> list[str]:
    return [row["path"] for row in rows_of(file.read_bytes())]


def interrupt_at_rows(run: "subprocess.Popen[bytes]", part: Path, number: int = signal.SIGKILL) -> None:
    wait_for(lambda: part.exists() and part.stat().st_size > 0, "the first row")
    run.send_signal(number)
    run.communicate(timeout=30)
