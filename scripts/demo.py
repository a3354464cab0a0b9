"""`make demo`: classify the shipped samples as a user would, then compare with their labels."""

import csv
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pigeonhole.errors import ExitCode

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results.csv"
#: How many rows of each kind are shown: right, wrong, error.
SHOWN = 5


def main() -> int:
    """Run the program, show a few rows, count what it got right."""
    program = [str(Path(sys.executable).parent / "pigeonhole"), "classify", "samples", "-o", RESULTS.name]
    print("$ pigeonhole classify samples -o results.csv", flush=True)
    code = subprocess.run(program, cwd=ROOT, check=False).returncode
    if code not in (ExitCode.OK, ExitCode.ERROR_ROWS):  # three of the samples are meant to be errors
        return code
    rows = list(csv.DictReader(RESULTS.open(newline="")))
    truth = {row["path"]: row["label"] for row in csv.DictReader((ROOT / "samples-labels.csv").open(newline=""))}
    errors = [row for row in rows if row["error"]]
    right = [row for row in rows if row["label"] and truth.get(row["path"]) == row["label"]]
    wrong = [row for row in rows if row["label"] and truth.get(row["path"]) != row["label"]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in (("path", 28), ("label", 5), ("truth", 5), ("confidence", 10), ("review", 6)):
        table.add_column(name, no_wrap=True, min_width=width)
    table.add_column("error")  # the one that gives way where the terminal is narrow
    for kind, style in ((right, ""), (wrong, "yellow"), (errors, "red")):
        for row in kind[:SHOWN]:
            shown = (row["path"], row["label"], truth.get(row["path"], ""), row["confidence"], row["review"])
            table.add_row(*shown, row["error"].partition(" (")[0], style=style)
    console = Console()
    console.print()
    console.print(table)
    console.print(f"\n{len(rows)} rows in results.csv; {len(right)} of the {len(truth)} labelled images are right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
