"""Rows ↔ bytes: CSV and JSON lines, and back, for a run that goes on with what an earlier one wrote.

The other formats are made of JSON lines once a run is finished; see `pigeonhole.sinks.results`.
"""

import json
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import BinaryIO

from pigeonhole.errors import UsageError
from pigeonhole.ledger.messages import Prediction

CSV_HEADER = b"path,label,confidence,review,error,model\n"
_CSV_MARKS = ',"\r\n'
_CSV_FIELD = r'("(?:[^"]++|"")*+"|[^",\r\n]*+)'
_CSV_ROW = re.compile(",".join([_CSV_FIELD] * CSV_HEADER.count(b",")) + f",{_CSV_FIELD}\n")
#: One for all rows: `json.dumps` makes one for each, which takes as long as the row.
_JSON = json.JSONEncoder(ensure_ascii=False)
#: An entry of a list has 2**20 bytes at most, and an escape takes six for one; what is longer is no row of ours.
_LONGEST = 1 << 23


class Format(StrEnum):
    """How rows are written."""

    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"
    db = "db"

    @property
    def is_lines(self) -> bool:
        """Whether a row is a line of it, so that it can be cut off anywhere and gone on with.

        What is not is made of JSON lines in the end.
        """
        return self in (Format.csv, Format.jsonl)


def format_of(path: str) -> Format:
    """Give the format that a file's extension names.

    Raises:
        UsageError: it names none.
    """
    extension = os.path.splitext(path)[1].lower().lstrip(".")
    if extension == "sqlite":
        return Format.db
    if extension not in list(Format):
        *known, last = (f".{name}" for name in Format)
        raise UsageError(f"{path!r} does not say a format: end it with {', '.join(known)} or {last}, or give --format")
    return Format(extension)


def to_csv(rows: Sequence[Prediction]) -> bytes:
    """Give rows as CSV lines, without the header; a name that is not UTF-8 keeps its bytes.

    Not with the csv module: until Python 3.13 it leaves a carriage return in a name unquoted.
    """
    paths = [row.path for row in rows]
    names = "".join(paths)
    if any(mark in names for mark in _CSV_MARKS):  # seldom: one look at all of them is cheaper than one at each
        paths = [csv_field(path) for path in paths]
    fields = _Fields()
    lines = [
        f"{path},{fields[label]},{'' if confidence is None else repr(confidence)},"
        f"{'true' if review else 'false'},{error and csv_field(error)},{fields[model]}\n"
        for path, (_, label, confidence, review, error, model, _) in zip(paths, rows, strict=True)
    ]
    return os.fsencode("".join(lines))


def to_jsonl(rows: Sequence[Prediction]) -> bytes:
    """Give rows as lines of JSON; a name that is not UTF-8 is spelled as `os.fsdecode` does."""
    return b"".join(_json_line(row) for row in rows)


def read(file: BinaryIO, format: Format) -> Iterator[tuple[bytes, Prediction]]:
    """Read back what `to_csv` (after the header) or `to_jsonl` gave.

    Gives each row as it stands there, and as what it says; of CSV, which does not have it, without `top`. A last row
    that was not written to its end is left out.

    Raises:
        UsageError: something in it is no row of ours.
    """
    lines = iter(lambda: file.readline(_LONGEST), b"")
    parse: Callable[[bytes], Prediction] = _from_json
    if format is Format.csv:
        header = next(lines, b"")
        if header != CSV_HEADER[: len(header)] or (header.endswith(b"\n") and header != CSV_HEADER):
            raise UsageError(f"it does not begin with {CSV_HEADER.decode().strip()}")
        lines, parse = _whole(lines), _from_csv
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            if len(line) < _LONGEST:
                return  # half a row, the last
            raise UsageError(f"its row {number:,} is no row of ours: it is longer than {_LONGEST:,} bytes")
        try:
            row = parse(line)
        except (KeyError, TypeError, ValueError, RecursionError) as exc:
            raise UsageError(f"its row {number:,} is no row of ours: {exc}") from exc
        yield line, row


def text_and_bytes(path: str) -> tuple[str, bytes | None]:
    """Give a path for a column of texts, and its bytes if it is not UTF-8: then the text has escapes for some."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _as_utf8(path), os.fsencode(path)
    return path, None


def path_of(text: object, spelled: bytes | None) -> str:
    """Give the path that `text_and_bytes` made two columns of; TypeError or ValueError where that can't be."""
    return os.fsdecode(spelled) if spelled else _text(text)


def texts(values: Iterable[str]) -> list[str | None]:
    """Give texts for a column that has None in place of empty ones; what is not UTF-8 becomes escapes."""
    return [_as_utf8(value) or None for value in values]


def _as_utf8(text: str) -> str:
    return text if text.isascii() else os.fsencode(text).decode(errors="backslashreplace")


def _whole(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Put together the lines of each row: a newline between quotes is a name's."""
    for line in lines:
        row, size, quotes = [line], len(line), line.count(b'"')
        while quotes % 2 and size < _LONGEST:
            line = next(lines, b"")
            if not line:
                return  # half a row, the last
            row.append(line)
            size, quotes = size + len(line), quotes + line.count(b'"')
        yield b"".join(row)


def _from_csv(line: bytes) -> Prediction:
    found = _CSV_ROW.fullmatch(os.fsdecode(line))
    if found is None:
        raise ValueError(f"{reprlib.repr(line)} has not {CSV_HEADER.count(b',') + 1} fields")
    path, label, confidence, review, error, model = map(_unquoted, found.groups())
    return Prediction(path, label, float(confidence) if confidence else None, review == "true", error, model, ())


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if field.startswith('"') else field


def _from_json(line: bytes) -> Prediction:
    body = json.loads(line)
    top = tuple((best["label"], best["p"]) for best in body["top"])
    path, error, model = (_text(body[name]) for name in ("path", "error", "model"))
    label, confidence = _text(body["label"] or ""), body["confidence"]
    return Prediction(
        path, label, None if confidence is None else float(confidence), body["review"] is True, error, model, top
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    os.fsencode(value)  # ValueError for surrogates that stand for no byte
    return value


class _Fields(dict[str, str]):
    """Texts as fields of CSV, for the few that come again and again."""

    def __missing__(self, text: str) -> str:
        self[text] = csv_field(text)
        return self[text]


def csv_field(text: str) -> str:
    """Give a text as a field of CSV."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in _CSV_MARKS) else text


def _json_line(row: Prediction) -> bytes:
    body = row._asdict() | {"label": row.label or None, "top": [{"label": label, "p": p} for label, p in row.top]}
    try:
        return _JSON.encode(body).encode() + b"\n"
    except UnicodeEncodeError:  # the lone surrogates of a name that is not UTF-8 need their escapes
        return json.dumps(body).encode() + b"\n"
