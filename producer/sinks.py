"""Rows → CSV, JSONL, or a table on a terminal.

A file grows as `FILE.part`, in whole rows only, and takes its name when the run is finished.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import BinaryIO, Protocol

from worker.contract.errors import OutputFailed, UsageError
from worker.contract.messages import Prediction

#: Rows of a table on a terminal; more scroll by unread.
TABLE_ROWS = 20
_CSV_HEADER = b"path,label,confidence,review,error,model\n"
_CSV_QUOTED = re.compile(r'[,"\r\n]')


class Format(StrEnum):
    """How rows are written."""

    csv = "csv"
    jsonl = "jsonl"


class Sink(Protocol):
    """Takes a job's rows, in order, some at a time."""

    def write(self, rows: Sequence[Prediction]) -> None:
        """Take the next rows; raises OutputFailed where they can't be kept."""

    def finish(self) -> None:
        """Take note that there are no more."""


def to_csv(rows: Sequence[Prediction]) -> bytes:
    """Give rows as CSV lines, without the header; a name that is not UTF-8 keeps its bytes.

    Not with the csv module: until Python 3.13 it leaves a carriage return in a name unquoted.
    """
    lines = [
        f"{_csv_field(row.path)},{_csv_field(row.label)},{'' if row.confidence is None else row.confidence},"
        f"{'true' if row.review else 'false'},{_csv_field(row.error)},{_csv_field(row.model)}\n"
        for row in rows
    ]
    return os.fsencode("".join(lines))


def to_jsonl(rows: Sequence[Prediction]) -> bytes:
    """Give rows as lines of JSON; a name that is not UTF-8 is spelled as `os.fsdecode` does."""
    return b"".join(_json_line(row) for row in rows)


class Stream:
    """Writes rows to an open binary stream, such as standard output.

    Args:
        stream: stays open.
        format: how.
    """

    def __init__(self, stream: BinaryIO, format: Format) -> None:
        self._stream = stream
        self._encode: Callable[[Sequence[Prediction]], bytes] = to_csv if format is Format.csv else to_jsonl
        self._header = _CSV_HEADER if format is Format.csv else b""

    def write(self, rows: Sequence[Prediction]) -> None:
        """Write the rows, and the header before the first."""
        data, self._header = self._header + self._encode(rows), b""
        try:
            rest = memoryview(data)
            while rest:  # an unbuffered file takes as much as fits on the disk, and says how much
                rest = rest[self._stream.write(rest) :]
            self._stream.flush()
        except BrokenPipeError:
            raise  # whoever read our rows has seen enough: that is for the program to end quietly by
        except OSError as exc:
            raise OutputFailed(f"the rows can't be written: {exc.strerror}") from exc

    def finish(self) -> None:
        """Write the header if there was no row."""
        if self._header:
            self.write([])


class File:
    """Writes rows to `FILE.part`, and renames it in the end.

    Args:
        path: of FILE. One that exists and is no regular file (a pipe, a device) is written to as it is, and a link to
            a file leads to it.
        format: how.

    Raises:
        OutputFailed: it can't be opened.
    """

    def __init__(self, path: str, format: Format) -> None:
        special = _is_special(path)
        self._path = os.path.realpath(path) if os.path.islink(path) and not special else path
        self.part = path if special else self._path + ".part"
        self._whole = 0
        try:
            self._file = open(self.part, "wb", buffering=0)  # noqa: SIM115  # closed in finish, kept if that is not reached
        except OSError as exc:
            raise OutputFailed(f"{self.part!r} can't be written: {exc.strerror}; choose another place with -o") from exc
        self._stream = Stream(self._file, format)

    def write(self, rows: Sequence[Prediction]) -> None:
        """Append the rows, in one piece."""
        with self._whole_rows():
            self._stream.write(rows)

    def finish(self) -> None:
        """Give the file its name."""
        with self._whole_rows():
            self._stream.finish()
        try:
            if self.part != self._path:
                os.fsync(self._file.fileno())
            self._file.close()
            if self.part != self._path:
                os.replace(self.part, self._path)
        except OSError as exc:
            raise OutputFailed(
                f"{self._path!r} can't be written: {exc.strerror}; the rows are in {self.part!r}"
            ) from exc

    @contextmanager
    def _whole_rows(self) -> Iterator[None]:
        """Take back what was written of a row when the rest of it can't be."""
        try:
            yield
        except OutputFailed as exc:
            if self.part != self._path:
                os.ftruncate(self._file.fileno(), self._whole)
            self._file.close()
            raise OutputFailed(f"{self.part!r}: {exc}") from exc
        if self.part != self._path:
            self._whole = self._file.tell()


class Table:
    """Shows the first rows as a table on standard output."""

    def __init__(self) -> None:
        self._rows: list[Prediction] = []
        self._more = 0

    def write(self, rows: Sequence[Prediction]) -> None:
        """Keep what will be shown."""
        room = TABLE_ROWS - len(self._rows)
        self._rows.extend(rows[:room])
        self._more += max(0, len(rows) - max(0, room))

    def finish(self) -> None:
        """Show it."""
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, header_style="bold")
        table.add_column("path", overflow="fold")
        table.add_column("label", min_width=5, overflow="fold")
        table.add_column("confidence", min_width=10, justify="right")
        table.add_column("review", min_width=6)
        table.add_column("error", overflow="fold")
        for row in self._rows:
            confidence = "" if row.confidence is None else f"{row.confidence:.4f}"
            cells = (printable(row.path), row.label, confidence, "yes" * row.review, row.error)
            table.add_row(*(Text(printable(cell)) for cell in cells), style="red" if row.error else "")
        console = Console(file=sys.stdout)
        console.print(table)
        if self._more:
            console.print(f"… and {self._more:,} more rows; -o FILE keeps all of them", style="dim")


def format_of(path: str) -> Format:
    """Give the format that a file's extension names.

    Raises:
        UsageError: it names none.
    """
    extension = os.path.splitext(path)[1].lower().lstrip(".")
    if extension not in list(Format):
        known = " or ".join(f".{name}" for name in Format)
        raise UsageError(f"{path!r} does not say a format: end it with {known}, or give --format")
    return Format(extension)


def printable(text: str) -> str:
    """Give a text with everything that a terminal would obey, or can't show, as escapes."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _csv_field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _CSV_QUOTED.search(text) else text


def _json_line(row: Prediction) -> bytes:
    body = row._asdict() | {"label": row.label or None, "top": [{"label": label, "p": p} for label, p in row.top]}
    try:
        return json.dumps(body, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # the lone surrogates of a name that is not UTF-8 need their escapes
        return json.dumps(body).encode() + b"\n"


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
