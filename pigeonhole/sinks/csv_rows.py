"""CSV: a header, and a line for each row; as it is, or safe for spreadsheets, and without or with `top`."""

import json
import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pigeonhole.ledger.messages import Row
from pigeonhole.sinks.format import LONGEST_LINE, LineFormat, checked_text

_MARKS = ',"\r\n'
#: What a formula begins with; the quote, so that it can be told from ours.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")
_FIELD = r'("(?:[^"]++|"")*+"|[^",\r\n]*+)'
_COLUMNS = 6
_ROW, _ROW_WITH_TOP = (re.compile(",".join([_FIELD] * columns) + "\n") for columns in (_COLUMNS, _COLUMNS + 1))
_TOP = b",top\n"


class Csv(LineFormat):
    """Comma-separated values; names that are not UTF-8 keep their bytes.

    Args:
        top: write the most probable classes too, as a JSON array of `[label, probability]`.
    """

    name = "csv"
    extensions = (".csv",)

    header = b"path,label,confidence,review,error,model\n"

    def __init__(self, top: bool = False) -> None:
        self.top = top
        if top:
            self.header = type(self).header[:-1] + _TOP

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
            for path, (_, label, confidence, review, error, model, _, _) in zip(paths, rows, strict=True)
        ]
        if self.top:
            lines = [f"{line[:-1]},{csv_field(json.dumps(row.top))}\n" for line, row in zip(lines, rows, strict=True)]
        return os.fsencode("".join(lines))

    def parse(self, line: bytes) -> Row:
        """Parse a row; without a column for it, it has no `top`."""
        pattern = _ROW_WITH_TOP if self.top else _ROW
        found = pattern.fullmatch(os.fsdecode(line))
        if found is None:
            raise ValueError(f"{reprlib.repr(line)} has not {pattern.groups} fields")
        path, label, confidence, review, error, model, *rest = map(_unquoted, found.groups())
        top = tuple((checked_text(name), float(p)) for name, p in json.loads(rest[0])) if rest else ()
        return Row(path, label, float(confidence) if confidence else None, review == "true", error, model, top)

    def scan(self, file: BinaryIO) -> Iterator[tuple[bytes, Row]]:
        """Read rows; see `LineFormat.scan`. The header tells how they were written."""
        written: list[Csv] = [kind(top) for kind in (Csv, SafeCsv) for top in (False, True)]
        header = file.readline(max(len(one.header) for one in written))
        file.seek(0)
        yield from LineFormat.scan(next((one for one in written if one.header == header), self), file)

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

    Its header is the same to others, and tells our readers to take the quotes away again. `top` begins with a bracket,
    which no formula does.
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
        row = super().parse(line)
        return row._replace(
            path=original_text(row.path),
            label=original_text(row.label),
            error=original_text(row.error),
            model=original_text(row.model),
        )


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
