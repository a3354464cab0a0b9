"""`make demo`: classify the shipped samples as a user would, compare with their labels, and suggest next commands."""

import csv
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pigeonhole.errors import ExitCode

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results.csv"
#: The most rows to show of each kind: right, wrong, error.
SHOWN = 5

BEFORE = """\
The demo classifies samples/: 200 handwritten digits, and 3 files that can't be
read. A private Redis and workers start on this machine, and end with the
command. Nothing is downloaded.

$ pigeonhole classify samples -o results.csv"""
#: Commands that work unchanged in the root of the checkout; tests/scripts/test_demo.py runs them.
NEXT = """\
Try next:
  . .venv/bin/activate
  pigeonhole report results.csv -o report.html  # a page to look at, and correct
  pigeonhole classify samples/003b50.png        # or your own image or folder
  pigeonhole doctor                             # is everything as it should be?

README.md is the guide. Your own classes: docs/guide/own-images.md (`make venv`
sets up training)."""


def main() -> int:
    """Run the program, show a few rows, and count the right labels."""
    program = [str(Path(sys.executable).parent / "pigeonhole"), "classify", "samples", "-o", RESULTS.name]
    print(BEFORE, flush=True)
    code = subprocess.run(program, cwd=ROOT, check=False).returncode
    if code not in (ExitCode.OK, ExitCode.ERROR_ROWS):  # three of the samples are error rows on purpose
        return code
    rows = list(csv.DictReader(RESULTS.open(newline="")))
    truth = {row["path"]: row["label"] for row in csv.DictReader((ROOT / "samples-labels.csv").open(newline=""))}
    errors = [row for row in rows if row["error"]]
    right = [row for row in rows if row["label"] and truth.get(row["path"]) == row["label"]]
    wrong = [row for row in rows if row["label"] and truth.get(row["path"]) != row["label"]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in (("path", 28), ("label", 5), ("truth", 5), ("confidence", 10), ("review", 6), ("error", 12)):
        table.add_column(name, no_wrap=True, min_width=width)
    for kind, style in ((right, ""), (wrong, "yellow"), (errors, "red")):
        for row in kind[:SHOWN]:
            shown = (row["path"], row["label"], truth.get(row["path"], ""), row["confidence"], row["review"])
            table.add_row(*shown, row["error"].partition(":")[0], style=style)
    console = Console(highlight=False)
    console.print()
    console.print(table)
    print(f"\nThese are {table.row_count} of the {len(rows)} rows in results.csv.")
    print(f"Of the {len(truth)} labelled digits {len(right)} are right.\n\n{NEXT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
