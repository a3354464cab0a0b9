"""CSV: a header, and a line for each row, without `top`; as it is, or safe for spreadsheets."""

import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pigeonhole.ledger.messages import Row
from pigeonhole.sinks.format import LONGEST_LINE, LineFormat

_MARKS = ',"\r\n'
#: What a formula begins with; the quote, so that it can be told from ours.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")
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

    def scan(self, file: BinaryIO) -> Iterator[tuple[bytes, Row]]:
        """Read rows; see `LineFormat.scan`. Those of `SafeCsv` are read as what they were."""
        safe = file.readline(len(SafeCsv.header)) == SafeCsv.header
        file.seek(0)
        yield from LineFormat.scan(SafeCsv() if safe else self, file)

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


class SafeCsv(Csv):
    """CSV in which no text is a formula to a spreadsheet: one that might be has a single quote in front.

    Its header is the same to others, and tells our readers to take the quotes away again.
    """

    header = b'"path",label,confidence,review,error,model\n'

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Encode rows."""
        return super().encode(
            [
                row._replace(
                    path=safe_text(row.path),
                    label=safe_text(row.label),
                    error=safe_text(row.error),
                    model=safe_text(row.model),
                )
                for row in rows
            ]
        )

    def parse(self, line: bytes) -> Row:
        """Parse a row."""
        path, label, confidence, review, error, model, top = super().parse(line)
        label, error, model = original_text(label), original_text(error), original_text(model)
        return Row(original_text(path), label, confidence, review, error, model, top)


class _Fields(dict[str, str]):
    """Cache of encoded fields, for the few labels and models of many rows."""

    def __missing__(self, text: str) -> str:
        self[text] = csv_field(text)
        return self[text]


def safe_text(text: str) -> str:
    """Return a text with a single quote in front if a spreadsheet might take it for a formula, or for quoted so."""
    return "'" + text if text.startswith(_RISKY) else text


def original_text(text: str) -> str:
    """Return the text that `safe_text` was given."""
    return text.removeprefix("'")


def csv_field(text: str) -> str:
    """Encode a text as a field of CSV."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in _MARKS) else text


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if field.startswith('"') else field
