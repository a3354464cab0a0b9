"""Compare the rows of a job under faults with those of an undisturbed run."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pigeonhole.ledger.wire.messages import Row

#: The tolerance of probabilities: runs may divide images into chunks differently, which changes rounding.
TOLERANCE = 1e-5


class FileRow(NamedTuple):
    """The part of a row that must not depend on faults."""

    path: str
    label: str
    error: str
    review: bool
    confidence: float

    @classmethod
    def of(cls, row: Row) -> "FileRow":
        """Return the part of a row of a followed job."""
        return cls(row.path, row.label, row.error, row.review, row.confidence or 0.0)

    def same_result(self, other: "FileRow") -> bool:
        """Return whether two rows have the same result, whatever their paths are."""
        return self[1:-1] == other[1:-1] and abs(self.confidence - other.confidence) <= TOLERANCE


@dataclass(frozen=True)
class Difference:
    """The numbers of images without a row, with several, with another result, or with an error that a fault caused."""

    lost: int
    duplicated: int
    changed: int
    failed: int

    def __bool__(self) -> bool:
        return any((self.lost, self.duplicated, self.changed, self.failed))


def difference(rows: Iterable[FileRow], listed: Sequence[str], undisturbed: Mapping[str, FileRow]) -> Difference:
    """Compare rows with those of an undisturbed run.

    Args:
        rows: the rows of the job under faults.
        listed: the paths that were submitted, each once.
        undisturbed: the expected row by the file's name, which is the same for all copies of a file.
    """
    rows_by_path: Counter[str] = Counter()
    changed = failed = 0
    for row in rows:
        rows_by_path[row.path] += 1
        wanted = undisturbed[Path(row.path).name]
        if row.error and not wanted.error:
            failed += 1
        elif not row.same_result(wanted):
            changed += 1
    wrong = rows_by_path.keys() - set(listed)  # a row for a path that was not submitted
    return Difference(
        lost=sum(path not in rows_by_path for path in listed),
        duplicated=sum(times > 1 for times in rows_by_path.values()),
        changed=changed + len(wrong),
        failed=failed,
    )


def read(file: Path) -> list[FileRow]:
    """Read the rows of a CSV file that `pigeonhole` wrote."""
    with file.open(newline="", encoding="utf-8") as lines:
        return [
            FileRow(row["path"], row["label"], row["error"], row["review"] == "true", float(row["confidence"] or 0))
            for row in csv.DictReader(lines)
        ]
