"""The base class of formats that are written at once when a run is finished, and their typed columns."""

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, ClassVar

from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import Format, LineFormat, as_dicts, checked_text
from pigeonhole.sinks.jsonl import JsonLines

_LINES = JsonLines()


class WholeFormat(Format):
    """A format that is written at once when a run is finished; until then, FILE.part has JSON lines."""

    #: The number of rows that are passed to `write` at a time.
    chunk: ClassVar[int] = 8192

    @property
    def lines(self) -> LineFormat:
        """The format of the rows in FILE.part: JSON lines."""
        return _LINES

    @abstractmethod
    def write(self, path: str, chunks: Iterable[Sequence[Row]], job: JobStatus, written_ns: int) -> None:
        """Write the rows of a job, all or none.

        Args:
            path: the path of FILE.
            chunks: the rows, at most `chunk` at a time.
            job: the job; its counts and models are replaced by those of the rows.
            written_ns: the time when the last row was written, in nanoseconds since the epoch.

        Raises:
            OSError, PigeonholeError: FILE can't be written.
        """

    def finish(self, part: str, path: str, job: JobStatus | None) -> None:
        """Write FILE from the rows in FILE.part, then remove FILE.part."""
        assert job is not None  # every command has one; for the type checker
        with open(part, "rb") as file:
            rows = (row for _, row in self.lines.scan(file))
            chunks = iter(lambda: list(islice(rows, self.chunk)), [])
            self.write(path, chunks, job, os.fstat(file.fileno()).st_mtime_ns)
        os.unlink(part)


def columns(rows: Sequence[Row]) -> tuple[Sequence[Any], ...]:
    """Return rows as columns: path, path_bytes, label, confidence, review, error, model, top, labels and unknown.

    Empty texts become None. A text that is not UTF-8 gets escapes; for a path, `path_bytes` then has its bytes.
    """
    paths, labels, confidences, reviews, errors, models, tops, several, unknown = zip(*rows, strict=True)
    shown, spelled = zip(*map(text_and_bytes, paths), strict=True)
    texts = _texts(labels), _texts(errors), _texts(models)
    best = list(map(as_dicts, tops))
    return shown, spelled, texts[0], confidences, reviews, texts[1], texts[2], best, several, unknown


def row_of(values: Iterable[Any]) -> Row:
    """Return the row with these values, one per column; raise KeyError, TypeError or ValueError for invalid ones."""
    shown, spelled, label, confidence, review, error, model, top, labels, unknown = values
    best = tuple((one["label"], one["p"]) for one in top or ())
    several = None if labels is None else tuple(map(checked_text, labels))
    path = path_of(shown, spelled)
    return Row(path, label or "", confidence, review == 1, error or "", model or "", best, several, unknown)


def text_and_bytes(path: str) -> tuple[str, bytes | None]:
    """Return a path as UTF-8 text, and its bytes if the text needs escapes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _as_utf8(path), os.fsencode(path)
    return path, None


def path_of(shown: object, spelled: bytes | None) -> str:
    """Return the path from the results of `text_and_bytes`; raise TypeError or ValueError if they are invalid."""
    return os.fsdecode(spelled) if spelled else checked_text(shown)


def _texts(values: Iterable[str]) -> list[str | None]:
    return [_as_utf8(value) or None for value in values]


def _as_utf8(text: str) -> str:
    return text if text.isascii() else os.fsencode(text).decode(errors="backslashreplace")
