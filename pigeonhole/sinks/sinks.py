"""Where rows go: a stream, a file, or several sinks at once; a table on a terminal is in `producer.table`.

A file grows as `FILE.part`, in whole rows only, and takes its name when the run is finished; what is not lines is made
of it then.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import BinaryIO, Protocol

from pigeonhole.errors import OutputFailed, PigeonholeError
from pigeonhole.ledger.messages import Prediction
from pigeonhole.ledger.status import JobStatus
from pigeonhole.output_files import NEW, is_special, locked, new_part, open_special, remove, sync_folder, target
from pigeonhole.sinks.rows import CSV_HEADER, Format, read, to_csv, to_jsonl

#: What the file beside `FILE.part` ends with that says whose rows it holds; see `pigeonhole.jobs.journal`.
JOURNAL = ".journal"
#: And the one that says what lay where the images of these rows are.
PLACES = ".folders"


class Sink(Protocol):
    """Takes a job's rows, in order, some at a time."""

    def write(self, rows: Sequence[Prediction]) -> None:
        """Take the next rows; raises OutputFailed where they can't be kept."""

    def finish(self, job: JobStatus | None = None) -> None:
        """Take note that there are no more, and of what became of their job, if that is known."""


class Tee:
    """Gives rows to several sinks.

    Args:
        sinks: the one that keeps the rows is first: it takes them before the others, and is finished after them, so
            that what another lacks can be made up for from its rows.
    """

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def write(self, rows: Sequence[Prediction]) -> None:
        """Give the rows to each."""
        for sink in self._sinks:
            sink.write(rows)

    def finish(self, job: JobStatus | None = None) -> None:
        """Finish each, the first at last."""
        for sink in reversed(self._sinks):
            sink.finish(job)


class Stream:
    """Writes rows to an open binary stream, such as standard output.

    Args:
        stream: stays open.
        format: how.
    """

    def __init__(self, stream: BinaryIO, format: Format) -> None:
        self._stream = stream
        self._encode: Callable[[Sequence[Prediction]], bytes] = to_csv if format is Format.csv else to_jsonl
        self._header = CSV_HEADER if format is Format.csv else b""

    def write(self, rows: Sequence[Prediction]) -> None:
        """Write the rows, and the header before the first."""
        self.copy(self._encode(rows))

    def copy(self, rows: bytes) -> None:
        """Write rows that are encoded already, and the header before the first."""
        data, self._header = self._header + rows, b""
        try:
            rest = memoryview(data)
            while rest:  # an unbuffered file takes as much as fits on the disk, and says how much
                rest = rest[self._stream.write(rest) :]
            self._stream.flush()
        except BrokenPipeError:
            raise  # whoever read our rows has seen enough: that is for the program to end quietly by
        except OSError as exc:
            raise OutputFailed(f"the rows can't be written: {exc.strerror}") from exc

    def finish(self, job: JobStatus | None = None) -> None:
        """Write the header if there was no row."""
        if self._header:
            self.write([])


class File:
    """Writes rows to `FILE.part`, and renames it in the end; it is locked until then.

    Args:
        path: of FILE. One that exists and is no regular file (a pipe, a device) is written to as it is, and so is what
            is open already (/dev/stdout); a link to a file leads to it.
        format: how. What is not lines can't be written to a pipe or device.
        keep: encoded rows that it begins with. Only when all of them are there do they take the place of what is in
            `FILE.part`, which they may be read from.
        ready: is called just before they do, with the lock held.

    Attributes:
        begun: when this was, in nanoseconds on the clock of the file's own file system.
        offset: how many bytes the rows take that it began with.

    Raises:
        OutputFailed: it can't be opened, or another command writes to it.
    """

    def __init__(
        self, path: str, format: Format, keep: Iterable[bytes] = (), ready: Callable[[], None] = lambda: None
    ) -> None:
        special = is_special(path)
        self._path = path if special else target(path)
        self._format = format
        self.part = path if special else self._path + ".part"
        try:
            with nullcontext() if special else locked(self.part):
                self._file = open_special(path) if special else new_part(self.part)
                self.begun = os.fstat(self._file.fileno()).st_mtime_ns
                self._stream = Stream(self._file, format)
                self.offset = self._whole = 0 if special else self._begin(iter(keep), ready)
        except OSError as exc:
            folder = os.path.dirname(self.part)
            if folder and not os.path.exists(folder):
                why = f"the folder {folder!r} does not exist; make it, or"
            else:
                why = f"{exc.strerror};"
            raise OutputFailed(f"{self.part!r} can't be written: {why} choose another place with -o") from exc

    def _begin(self, keep: Iterator[bytes], ready: Callable[[], None]) -> int:
        """Write the rows there are, and only then take the place of what was there before."""
        try:
            while rows := b"".join(islice(keep, 1000)):
                self._stream.copy(rows)
            os.fsync(self._file.fileno())
            ready()
            os.replace(self.part + NEW, self.part)
        except BaseException as exc:
            os.unlink(self.part + NEW)
            self._file.close()
            if isinstance(exc, OutputFailed):
                raise OutputFailed(f"{self.part!r}: {exc}") from exc
            raise
        return self._file.tell()

    def kept(self) -> Iterator[Prediction]:
        """Give the rows that it began with, before others are written."""
        if self.offset:
            with open(self.part, "rb") as file:
                yield from (row for _, row in read(file, self._format))

    def write(self, rows: Sequence[Prediction]) -> None:
        """Append the rows, in one piece."""
        with self._whole_rows():
            self._stream.write(rows)

    def finish(self, job: JobStatus | None = None) -> None:
        """Give the file its name; when this returns it is on the disk."""
        with self._whole_rows():
            self._stream.finish()
        try:
            if self.part != self._path:
                os.fsync(self._file.fileno())
                self._take_name(job)
                # Not before: until it has its name, the journal is what makes its rows worth something.
                remove(self.part + JOURNAL, self.part + PLACES)
                if not self._format.is_lines:
                    remove(self.part)
                sync_folder(self._path)
        except OSError as exc:
            raise OutputFailed(
                f"{self._path!r} can't be written: {exc.strerror or exc}; the rows are in {self.part!r}"
            ) from exc
        except PigeonholeError as exc:
            raise OutputFailed(f"{exc}; the rows are in {self.part!r}") from exc
        finally:
            self._file.close()

    def _take_name(self, job: JobStatus | None) -> None:
        if self._format.is_lines:
            os.replace(self.part, self._path)
        else:
            from pigeonhole.sinks.results import convert

            convert(self.part, self._path, self._format, job)

    def close(self) -> None:
        """Let go of it as it is, for another command to go on with."""
        self._file.close()

    def give_up(self) -> None:
        """Let go of it before there is a new row; where none was kept either, nothing is left of it."""
        if not self.offset:
            remove(self.part, self.part + JOURNAL, self.part + PLACES)
        self._file.close()

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
