"""Stand for a person with a report: decide each image to review by its true label, and export corrections.csv.

The true labels are those of samples-labels.csv and of the folder `Dataset`.
"""

import csv
import sys
from pathlib import Path


def main() -> None:
    """Write and print corrections.csv for the CSV file of rows that the command line names."""
    with Path("samples-labels.csv").open(newline="") as file:
        truth = {Path(row["path"]).name: row["label"] for row in csv.DictReader(file)}
    truth |= {photo.name: photo.parent.name for photo in Path("Dataset").glob("*/*.JPG")}
    with Path(sys.argv[1]).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["review"] == "true"]
    with Path("corrections.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "label", "was", "confidence"])
        table.writerows([row["path"], truth[Path(row["path"]).name], row["label"], row["confidence"]] for row in rows)
    print(Path("corrections.csv").read_text(), end="")


if __name__ == "__main__":
    main()
