"""The interface of an output format: how the rows of a job are written to a file and read back."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import BinaryIO, ClassVar

from pigeonhole.errors import UsageError
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobStatus

#: Bytes of the longest line that is read: a path has at most 2**20 bytes, and each may take six as an escape.
LONGEST_LINE = 1 << 23


class Format(ABC):
    """An output format; derive from `LineFormat` or `WholeFormat`.

    Attributes:
        name: the value of `--format`.
        extensions: file name extensions in lower case, such as `.csv`; messages show the first.
        many_jobs: whether one file holds the rows of several jobs.
    """

    name: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]]
    many_jobs: ClassVar[bool] = False

    @property
    @abstractmethod
    def lines(self) -> "LineFormat":
        """The format of the rows in FILE.part."""

    def check(self, path: str) -> None:  # noqa: B027  # most formats can always be written
        """Raise UsageError or OutputFailed, before a run starts, if this format can't be written to a file."""

    @abstractmethod
    def finish(self, part: str, path: str, job: JobStatus | None) -> None:
        """Turn a complete FILE.part into FILE, or raise OSError or PigeonholeError and leave FILE.part."""

    def about(self, path: str, job: str | None, sources: Sequence[str] | None) -> tuple[JobStatus | None, int]:
        """Return the job in a file, None if it records none, and the time of its last row in nanoseconds.

        Args:
            path: of the file.
            job: selects one of many jobs; None selects the last one.
            sources: select the last job with these sources.

        Raises:
            UsageError: the file can't be read, or holds no such job.
        """
        try:
            with open(path, "rb") as file:
                return None, os.fstat(file.fileno()).st_mtime_ns
        except OSError as exc:
            raise unreadable(path, exc) from exc

    @abstractmethod
    def read(self, path: str, job: JobStatus | None) -> Iterator[Row]:
        """Read the rows of the job that `about` returned, in bounded memory; raise UsageError if that fails."""


class LineFormat(Format):
    """A format in which rows are appended line by line, so that an interrupted run can resume."""

    #: The bytes before the first row.
    header: bytes = b""

    @property
    def lines(self) -> "LineFormat":
        """The format itself."""
        return self

    @abstractmethod
    def encode(self, rows: Sequence[Row]) -> bytes:
        """Encode rows, without the header."""

    @abstractmethod
    def parse(self, line: bytes) -> Row:
        """Parse an encoded row; raise KeyError, TypeError or ValueError if it is none."""

    def join(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Join the lines of each row, where a row may have several; omit an incomplete last row."""
        return lines

    def finish(self, part: str, path: str, job: JobStatus | None) -> None:
        """Rename FILE.part."""
        os.replace(part, path)

    def scan(self, file: BinaryIO) -> Iterator[tuple[bytes, Row]]:
        """Read rows, each as its bytes and parsed, without an incomplete last row; raise UsageError for other data."""
        lines = iter(lambda: file.readline(LONGEST_LINE), b"")
        if self.header:
            header = next(lines, b"")
            if header != self.header[: len(header)] or (header.endswith(b"\n") and header != self.header):
                raise UsageError(f"it does not begin with {self.header.decode().strip()}")
        for number, line in enumerate(self.join(lines), 1):
            if not line.endswith(b"\n"):
                if len(line) < LONGEST_LINE:
                    return
                raise UsageError(f"its row {number:,} is no row of ours: it is longer than {LONGEST_LINE:,} bytes")
            try:
                row = self.parse(line)
            except (KeyError, TypeError, ValueError, RecursionError) as exc:
                raise UsageError(f"its row {number:,} is no row of ours: {exc}") from exc
            yield line, row

    def read(self, path: str, job: JobStatus | None) -> Iterator[Row]:
        """Read all rows."""
        try:
            with open(path, "rb") as file:
                for _, row in self.scan(file):
                    yield row
        except OSError as exc:
            raise unreadable(path, exc) from exc
        except UsageError as exc:
            raise UsageError(f"{path!r} holds no results of ours: {exc}") from exc


def unreadable(path: str, exc: OSError) -> UsageError:
    """Return the error for a file of results that can't be read."""
    return UsageError(f"{path!r} can't be read: {exc.strerror or exc}")


def as_dicts(top: Sequence[tuple[str, float]]) -> list[dict[str, object]]:
    """Return `Row.top` as every file spells it: the most probable classes as `{"label": …, "p": …}`."""
    return [{"label": label, "p": p} for label, p in top]


def checked_text(value: object) -> str:
    """Return a text that was read from a file; raise TypeError or ValueError if no row can hold it."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    os.fsencode(value)  # ValueError for surrogates that stand for no byte
    return value
