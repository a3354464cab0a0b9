"""CSV: a header, and a line for each row, without `top`."""

import os
import re
import reprlib
from collections.abc import Iterator, Sequence

from pigeonhole.ledger.messages import Row
from pigeonhole.sinks.format import LONGEST_LINE, LineFormat

_MARKS = ',"\r\n'
_FIELD = r'("(?:[^"]++|"")*+"|[^",\r\n]*+)'


class Csv(LineFormat):
    """Comma-separated values; names that are not UTF-8 keep their bytes."""

    name = "csv"
    extensions = (".csv",)
    header = b"path,label,confidence,review,error,model\n"

    _columns = header.count(b",") + 1
    _row = re.compile(",".join([_FIELD] * _columns) + "\n")

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Encode rows; the csv module of Python 3.12 and older leaves a carriage return unquoted."""
        paths = [row.path for row in rows]
        names = "".join(paths)
        if any(mark in names for mark in _MARKS):  # rare: one search in all paths is cheaper than one in each
            paths = [csv_field(path) for path in paths]
        fields = _Fields()
        lines = [
            f"{path},{fields[label]},{'' if confidence is None else repr(confidence)},"
            f"{'true' if review else 'false'},{error and csv_field(error)},{fields[model]}\n"
            for path, (_, label, confidence, review, error, model, _) in zip(paths, rows, strict=True)
        ]
        return os.fsencode("".join(lines))

    def parse(self, line: bytes) -> Row:
        """Parse a row, which has no `top`."""
        found = self._row.fullmatch(os.fsdecode(line))
        if found is None:
            raise ValueError(f"{reprlib.repr(line)} has not {self._columns} fields")
        path, label, confidence, review, error, model = map(_unquoted, found.groups())
        return Row(path, label, float(confidence) if confidence else None, review == "true", error, model, ())

    def join(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Join the lines of each row: a newline between quotes belongs to a field."""
        for line in lines:
            row, size, quotes = [line], len(line), line.count(b'"')
            while quotes % 2 and size < LONGEST_LINE:
                line = next(lines, b"")
                if not line:
                    return
                row.append(line)
                size, quotes = size + len(line), quotes + line.count(b'"')
            yield b"".join(row)


class _Fields(dict[str, str]):
    """Cache of encoded fields, for the few labels and models of many rows."""

    def __missing__(self, text: str) -> str:
        self[text] = csv_field(text)
        return self[text]


def csv_field(text: str) -> str:
    """Encode a text as a field of CSV."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in _MARKS) else text


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if field.startswith('"') else field
