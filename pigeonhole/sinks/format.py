"""The interface of output formats, which write the rows of a job to a file and read them back."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import BinaryIO, ClassVar

from pigeonhole.errors import UsageError
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row

#: The longest line that is read, in bytes: a path has at most 2**20 bytes, each of up to six as an escape.
LONGEST_LINE = 1 << 23


class Format(ABC):
    """An output format; derive from `LineFormat` or `WholeFormat`.

    Attributes:
        name: the value of `--format`.
        extensions: file name extensions in lower case, such as `.csv`; messages show the first.
        many_jobs: whether one file can hold the rows of several jobs.
    """

    name: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]]
    many_jobs: ClassVar[bool] = False

    @property
    @abstractmethod
    def lines(self) -> "LineFormat":
        """The format of the rows in FILE.part."""

    def check(self, path: str) -> None:  # noqa: B027  # most formats can always be written
        """Check, before a run starts, that this format can be written to a file; raise UsageError or OutputFailed."""

    @abstractmethod
    def finish(self, part: str, path: str, job: JobStatus | None) -> None:
        """Turn a complete FILE.part into FILE, or raise OSError or PigeonholeError and leave FILE.part."""

    def about(self, path: str, job: str | None, sources: Sequence[str] | None) -> tuple[JobStatus | None, int]:
        """Return the job that a file records, or None, and the time when its last row was written, in nanoseconds.

        Args:
            path: the path of the file.
            job: the id of the job in a file with many jobs; None: the last job.
            sources: the sources of the job: the last job with these is selected; None: any.

        Raises:
            UsageError: the file can't be read, or has no such job.
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
        """Parse the line of a row; raise KeyError, TypeError or ValueError if it is invalid."""

    def join(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Join the lines of rows with several lines; omit an incomplete last row."""
        return lines

    def finish(self, part: str, path: str, job: JobStatus | None) -> None:
        """Rename FILE.part to FILE."""
        os.replace(part, path)

    def scan(self, file: BinaryIO) -> Iterator[tuple[bytes, Row]]:
        """Yield each row as bytes and parsed; omit an incomplete last row; raise UsageError for invalid rows."""
        lines = iter(lambda: file.readline(LONGEST_LINE), b"")
        if self.header:
            header = next(lines, b"")
            if header != self.header[: len(header)] or (header.endswith(b"\n") and header != self.header):
                raise UsageError(f"it does not begin with {self.header.decode().strip()}")
        for number, line in enumerate(self.join(lines), 1):
            if not line.endswith(b"\n"):
                if len(line) < LONGEST_LINE:
                    return
                raise UsageError(f"its row {number:,} is invalid: it is longer than {LONGEST_LINE:,} bytes")
            try:
                row = self.parse(line)
            except (KeyError, TypeError, ValueError, RecursionError) as exc:
                raise UsageError(f"its row {number:,} is invalid: {exc}") from exc
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
            raise UsageError(f"{path!r} is not a results file of Pigeonhole: {exc}") from exc


def unreadable(path: str, exc: OSError) -> UsageError:
    """Return the error for a results file that can't be read."""
    return UsageError(f"{path!r} can't be read: {exc.strerror or exc}")


def as_dicts(top: Sequence[tuple[str, float]]) -> list[dict[str, object]]:
    """Return `Row.top` as it is written to files: a list of `{"label": …, "p": …}`."""
    return [{"label": label, "p": p} for label, p in top]


def checked_text(value: object) -> str:
    """Return a value from a file as the text of a row; raise TypeError or ValueError if it is no valid text."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    os.fsencode(value)  # ValueError for surrogates that stand for no byte
    return value
