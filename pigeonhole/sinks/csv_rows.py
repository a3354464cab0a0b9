"""CSV: a header and one line for each row, either plain or safe for spreadsheets."""

import json
import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from typing import BinaryIO

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import LONGEST_LINE, LineFormat, checked_text

_MARKS = ',"\r\n'
#: First characters of formulas; also the quote, so that `original_text` removes only quotes that `safe_text` added.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")
_FIELD = r'("(?:[^"]++|"")*+"|[^",\r\n]*+)'
_COLUMNS = ("path", "label", "confidence", "unknown", "review", "error", "model")
#: Files of version 0.2 lack "unknown", and have "top", a JSON array of `[label, probability]`.
_REQUIRED, _OLD_TOP = {*_COLUMNS} - {"unknown"}, "top"
_TOP = re.compile(r"(?:top|p)_([1-9][0-9]*)")
#: Bytes of the longest header: 1,000 classes have two columns each.
LONGEST_HEADER = 20_000
#: The beginning of a `SafeCsv` header; that of a `Csv` has no quotes.
_SAFE_MARK = b'"path"'


class Csv(LineFormat):
    """Comma-separated values; names that are not UTF-8 keep their bytes.

    Args:
        top: the number of most probable classes that get columns: `top_1,p_1,top_2,p_2,…`.
        columns: the columns of an existing file, from its header; None: the standard columns and those for `top`.
    """

    name = "csv"
    extensions = (".csv",)

    def __init__(self, top: int = 0, columns: tuple[str, ...] | None = None) -> None:
        self.top = top
        self._columns = columns or (*_COLUMNS, *(f"{name}_{rank + 1}" for rank in range(top) for name in ("top", "p")))
        self._row = re.compile(",".join([_FIELD] * len(self._columns)) + "\n")
        self.header = (",".join(self._columns) + "\n").encode()

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Encode rows; not with the csv module, which leaves a carriage return unquoted up to Python 3.12."""
        paths = [row.path for row in rows]
        names = "".join(paths)
        if any(mark in names for mark in _MARKS):  # rare, so one search in all paths is faster
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
        """Parse a row; `top` is empty if the file has no columns for it."""
        found = self._row.fullmatch(os.fsdecode(line))
        if found is None:
            raise ValueError(f"{reprlib.repr(line)} does not have {len(self._columns)} fields")
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
        """Read rows in the format that the header names; see `LineFormat.scan`."""
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
    """CSV for spreadsheets: a text that a spreadsheet might take for a formula gets a single quote in front.

    The first column's name is quoted in the header. Other programs ignore that; ours then removes the single quotes.
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
    """Return the format that wrote a header line; None: the header is not ours."""
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
    """Return the most probable classes of a row from its columns."""
    if values.get(_OLD_TOP):
        return tuple((checked_text(label), float(p)) for label, p in json.loads(values[_OLD_TOP]))
    ranks = takewhile(lambda rank: values.get(f"p_{rank}"), count(1))
    return tuple((values[f"top_{rank}"], float(values[f"p_{rank}"])) for rank in ranks)


def _number(field: str) -> float | None:
    return float(field) if field else None


def safe_text(text: str) -> str:
    """Return a text, with a single quote in front if it begins like a formula or with a single quote."""
    return "'" + text if text.startswith(_RISKY) else text


def original_text(text: str) -> str:
    """Return a text without the single quote that `safe_text` may have added."""
    return text.removeprefix("'")


def csv_field(text: str) -> str:
    """Encode a text as a field of CSV."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in _MARKS) else text


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if field.startswith('"') else field
