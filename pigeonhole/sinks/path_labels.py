"""Read a CSV file of paths and labels: rows, a report's corrections, or a file that somebody wrote."""

import csv
import os
from collections.abc import Iterator

from pigeonhole.sinks.csv_rows import LONGEST_HEADER, SafeCsv, original_text, written_with

_COLUMNS = ("path", "label")
#: The header of a report's corrections that were written with `--csv-safe`.
_SAFE_CORRECTIONS = '"path",label,was,confidence\n'


class MissingColumns(ValueError):
    """Raised when a CSV file lacks a column; `names` are the missing ones."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


def path_labels(file: str | os.PathLike[str]) -> Iterator[tuple[int, str, str]]:
    """Yield number, path and label of each line that has a path; the changes of `--csv-safe` are undone.

    Args:
        file: CSV file with a header; columns other than `path` and `label` are ignored.

    Raises:
        MissingColumns: it lacks one of the two columns.
        OSError, csv.Error: it can't be read, or is not CSV.
    """
    # A path may hold bytes that are not UTF-8, and a spreadsheet adds a byte order mark.
    with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        header = text.readline(LONGEST_HEADER)
        safe = header == _SAFE_CORRECTIONS or isinstance(written_with(header.encode("utf-8", "replace")), SafeCsv)
        text.seek(0)
        lines = csv.DictReader(text, strict=True)
        if missing := [name for name in _COLUMNS if name not in (lines.fieldnames or ())]:
            raise MissingColumns(missing)
        for line in lines:
            path, label = line["path"], line["label"] or ""
            if path:
                yield lines.line_num, *((original_text(path), original_text(label)) if safe else (path, label))
