"""CSV: a header, and a line for each row; as it is, or safe for spreadsheets."""

import json
import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from typing import BinaryIO

from pigeonhole.ledger.messages import Row
from pigeonhole.sinks.format import LONGEST_LINE, LineFormat, checked_text

_MARKS = ',"\r\n'
#: What a formula begins with; the quote, so that it can be told from ours.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")
_FIELD = r'("(?:[^"]++|"")*+"|[^",\r\n]*+)'
_COLUMNS = ("path", "label", "confidence", "unknown", "review", "error", "model")
#: Files of version 0.2 lack "unknown", and have "top", a JSON array of `[label, probability]`.
_REQUIRED, _OLD_TOP = {*_COLUMNS} - {"unknown"}, "top"
_TOP = re.compile(r"(?:top|p)_([1-9][0-9]*)")
#: Bytes of the longest header: 1,000 classes have two columns each.
LONGEST_HEADER = 20_000
#: What the header of a `SafeCsv` begins with, and no other.
_SAFE_MARK = b'"path"'


class Csv(LineFormat):
    """Comma-separated values; names that are not UTF-8 keep their bytes.

    Args:
        top: how many of the most probable classes have columns: `top_1,p_1,top_2,p_2,…`.
        columns: in place of those, as a file's header names them.
    """

    name = "csv"
    extensions = (".csv",)

    def __init__(self, top: int = 0, columns: tuple[str, ...] | None = None) -> None:
        self.top = top
        self._columns = columns or (*_COLUMNS, *(f"{name}_{rank + 1}" for rank in range(top) for name in ("top", "p")))
        self._row = re.compile(",".join([_FIELD] * len(self._columns)) + "\n")
        self.header = (",".join(self._columns) + "\n").encode()

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Encode rows; the csv module of Python 3.12 and older leaves a carriage return unquoted."""
        paths = [row.path for row in rows]
        names = "".join(paths)
        if any(mark in names for mark in _MARKS):  # rare: one search in all paths is cheaper than one in each
            paths = [csv_field(path) for path in paths]
        fields, end = _Fields(), "" if self.top else "\n"
        lines = [
            f"{path},{fields[label]},{'' if confidence is None else repr(confidence)},"
            f"{'' if unknown is None else repr(unknown)},"
            f"{'true' if review else 'false'},{error and csv_field(error)},{fields[model]}{end}"
            for path, (_, label, confidence, review, error, model, _, _, unknown) in zip(paths, rows, strict=True)
        ]
        if self.top:
            lines = [line + self._encoded(row.top, fields) for line, row in zip(lines, rows, strict=True)]
        return os.fsencode("".join(lines))

    def _encoded(self, top: Sequence[tuple[str, float]], fields: "_Fields") -> str:
        cells = [f",{fields[label]},{p!r}" for label, p in top[: self.top]]
        return "".join(cells) + ",," * (self.top - len(cells)) + "\n"

    def parse(self, line: bytes) -> Row:
        """Parse a row; without columns for it, it has no `top`."""
        found = self._row.fullmatch(os.fsdecode(line))
        if found is None:
            raise ValueError(f"{reprlib.repr(line)} has not {len(self._columns)} fields")
        values = dict(zip(self._columns, map(_unquoted, found.groups()), strict=True))
        return Row(
            values["path"],
            values["label"],
            _number(values["confidence"]),
            values["review"] == "true",
            values["error"],
            values["model"],
            _top_of(values),
            None,
            _number(values.get("unknown", "")),
        )

    def scan(self, file: BinaryIO) -> Iterator[tuple[bytes, Row]]:
        """Read rows; see `LineFormat.scan`. The header tells how they were written."""
        header = file.readline(LONGEST_HEADER)
        file.seek(0)
        yield from LineFormat.scan(written_with(header) or self, file)

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

    def __init__(self, top: int = 0, columns: tuple[str, ...] | None = None) -> None:
        super().__init__(top, columns)
        self.header = _SAFE_MARK + self.header.removeprefix(b"path")

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Encode rows."""
        return super().encode(
            [
                row._replace(
                    path=safe_text(row.path),
                    label=safe_text(row.label),
                    error=safe_text(row.error),
                    model=safe_text(row.model),
                    top=tuple((safe_text(label), p) for label, p in row.top),
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
            top=tuple((original_text(label), p) for label, p in row.top),
        )


class _Fields(dict[str, str]):
    """Cache of encoded fields, for the few labels and models of many rows."""

    def __missing__(self, text: str) -> str:
        self[text] = csv_field(text)
        return self[text]


def written_with(header: bytes) -> Csv | None:
    """Return the format that wrote a header, a line with its end; None: it is not one of ours."""
    mark = next((mark for mark in (_SAFE_MARK, b"path") if header.startswith(mark)), None)
    if mark is None or not header.endswith(b"\n"):
        return None
    columns = ("path" + header.removeprefix(mark).decode("ascii", "replace").removesuffix("\n")).split(",")
    names = {*columns}
    if len(names) < len(columns) or not names >= _REQUIRED:
        return None
    if not all(map(_TOP.fullmatch, names - {*_COLUMNS, _OLD_TOP})):
        return None
    return (SafeCsv if mark == _SAFE_MARK else Csv)(columns=tuple(columns))


def _top_of(values: dict[str, str]) -> tuple[tuple[str, float], ...]:
    """Return the most probable classes in the columns of a row."""
    if values.get(_OLD_TOP):
        return tuple((checked_text(label), float(p)) for label, p in json.loads(values[_OLD_TOP]))
    ranks = takewhile(lambda rank: values.get(f"p_{rank}"), count(1))
    return tuple((values[f"top_{rank}"], float(values[f"p_{rank}"])) for rank in ranks)


def _number(field: str) -> float | None:
    return float(field) if field else None


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
