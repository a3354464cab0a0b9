"""`make demo`: classify the shipped samples as a user would, then compare with their labels."""

import csv
import subprocess
import sys
from pathlib import Path

from worker.contract.errors import ExitCode

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results.csv"
#: Rows that are shown: a few of the first, and all that are errors.
SHOWN = 8


def main() -> int:
    """Run the program, show a few rows, count what it got right."""
    program = [str(Path(sys.executable).parent / "pigeonhole"), "classify", "samples", "-o", RESULTS.name]
    print("$ pigeonhole classify samples -o results.csv", flush=True)
    code = subprocess.run(program, cwd=ROOT, check=False).returncode
    if code not in (ExitCode.OK, ExitCode.ERROR_ROWS):  # three of the samples are meant to be errors
        return code
    rows = list(csv.DictReader(RESULTS.open(newline="")))
    labels = {row["path"]: row["label"] for row in csv.DictReader((ROOT / "samples-labels.csv").open(newline=""))}
    right = sum(labels.get(row["path"]) == row["label"] for row in rows)
    shown = [row for row in rows if not row["error"]][:SHOWN] + [row for row in rows if row["error"]]
    print(f"\n{'path':34} {'label':>5} {'truth':>5}  confidence")
    for row in shown:
        print(
            f"{row['path']:34} {row['label']:>5} {labels.get(row['path'], ''):>5}  {row['confidence'] or row['error']}"
        )
    print(f"… {len(rows)} rows in results.csv; {right} of the {len(labels)} labelled images are right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
