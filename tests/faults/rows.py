"""The rows of a job under faults, against those of a run that nobody disturbed."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pigeonhole.ledger.messages import Row

#: Two runs may cut their chunks differently, and a network's sums be rounded differently for that.
TOLERANCE = 1e-5


class FileRow(NamedTuple):
    """What a row says that may not depend on faults."""

    path: str
    label: str
    error: str
    review: bool
    confidence: float

    @classmethod
    def of(cls, row: Row) -> "FileRow":
        """Take it from what following a job gives."""
        return cls(row.path, row.label, row.error, row.review, row.confidence or 0.0)

    def says_as(self, other: "FileRow") -> bool:
        """Return whether both say the same of an image, whatever each calls it."""
        return self[1:-1] == other[1:-1] and abs(self.confidence - other.confidence) <= TOLERANCE


@dataclass(frozen=True)
class Difference:
    """How many images have no row, more than one, a row that says something else, or an error they are innocent of."""

    lost: int
    twice: int
    changed: int
    blamed: int

    def __bool__(self) -> bool:
        return any((self.lost, self.twice, self.changed, self.blamed))


def difference(rows: Iterable[FileRow], listed: Sequence[str], undisturbed: Mapping[str, FileRow]) -> Difference:
    """Compare rows with what they should be.

    Args:
        rows: of the job under faults.
        listed: the paths that were submitted, each once.
        undisturbed: the row of each, by the file's name: copies of a file say the same.
    """
    seen: Counter[str] = Counter()
    changed = blamed = 0
    for row in rows:
        seen[row.path] += 1
        wanted = undisturbed[Path(row.path).name]
        if row.error and not wanted.error:
            blamed += 1
        elif not row.says_as(wanted):
            changed += 1
    wrong = seen.keys() - set(listed)  # a row for what nobody submitted
    return Difference(
        lost=sum(path not in seen for path in listed),
        twice=sum(times > 1 for times in seen.values()),
        changed=changed + len(wrong),
        blamed=blamed,
    )


def read(file: Path) -> list[FileRow]:
    """Give the rows of a CSV that `pigeonhole` wrote."""
    with file.open(newline="", encoding="utf-8") as lines:
        return [
            FileRow(row["path"], row["label"], row["error"], row["review"] == "true", float(row["confidence"] or 0))
            for row in csv.DictReader(lines)
        ]
