"""Run `make demo` in a terminal, and draw the terminal's screen to docs/demo.svg, for `make docs`."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "demo.svg"
COLUMNS, LINES = 100, 44
#: pyte's name of a colour → rich's name, where they differ.
_COLORS = {"default": None, "brown": "yellow", "brightblack": "bright_black"}


def run(command: list[str]) -> pyte.Screen:
    """Run a command in a pseudo-terminal, and return the screen at its end."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    # Without the variables of the `make` that runs this, because the inner `make` would print its folder.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment = outside | {"COLUMNS": str(COLUMNS), "LINES": str(LINES), "TERM": "xterm-256color"}
    process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux raises EIO after the last writer has closed the terminal
            break
        if not data:
            break
        stream.feed(data)
    process.wait()
    return screen


def draw(screen: pyte.Screen, title: str) -> str:
    """Return a screen as SVG."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115  # open until the program ends
    last = max(row for row in range(LINES) if screen.display[row].strip())
    for row in range(last + 1):
        line = Text()
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            color = _COLORS.get(cell.fg, f"#{cell.fg}" if len(cell.fg) == 6 and not cell.fg.isalpha() else cell.fg)
            line.append(cell.data, Style(color=color, bold=cell.bold))
        line.rstrip()
        console.print(line)
    svg = console.export_svg(title=title)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # so that a browser downloads no font


if __name__ == "__main__":
    PICTURE.write_text(draw(run(["make", "--no-print-directory", "demo"]), "make demo") + "\n")
