"""A sink that writes a file: it grows as FILE.part, in complete rows, and becomes FILE when the run is finished."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice

from pigeonhole.errors import OutputFailed, PigeonholeError
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobStatus
from pigeonhole.output_files import NEW, is_special, locked, new_part, open_special, remove, sync_folder, target
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.sink import Stream


class File:
    """Writes rows to FILE.part, which stays locked until it becomes FILE.

    Args:
        path: of FILE. An existing pipe or device and an open file (/dev/stdout) are written to directly. A link leads
            to its target.
        format: of FILE; a pipe, a device and an open file take a `LineFormat` only.
        keep: encoded rows to start with, possibly read from FILE.part. They replace it when all of them are written.
        ready: called just before that, with the lock held.
        beside: suffixes of the files beside FILE.part that describe its rows; they are removed with it.

    Attributes:
        part: the path of FILE.part, or of the pipe or device.
        begun: when FILE.part was created, in nanoseconds on the file system's clock.
        offset: bytes of the rows to start with.

    Raises:
        OutputFailed: the file can't be opened, or another command writes to it.
    """

    def __init__(
        self,
        path: str,
        format: Format,
        keep: Iterable[bytes] = (),
        ready: Callable[[], None] = lambda: None,
        beside: Sequence[str] = (),
    ) -> None:
        special = is_special(path)
        self._path = path if special else target(path)
        self._format = format
        self.part = path if special else self._path + ".part"
        self._beside = [self.part + suffix for suffix in beside]
        try:
            with nullcontext() if special else locked(self.part):
                self._file = open_special(path) if special else new_part(self.part)
                self.begun = os.fstat(self._file.fileno()).st_mtime_ns
                self._stream = Stream(self._file, format.lines)
                self.offset = self._complete = 0 if special else self._begin(iter(keep), ready)
        except OSError as exc:
            folder = os.path.dirname(self.part)
            if folder and not os.path.exists(folder):
                why = f"the folder {folder!r} does not exist; make it, or"
            else:
                why = f"{exc.strerror};"
            raise OutputFailed(f"{self.part!r} can't be written: {why} choose another place with -o") from exc

    def _begin(self, keep: Iterator[bytes], ready: Callable[[], None]) -> int:
        """Write the rows to start with, then replace FILE.part; return their size in bytes."""
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

    def kept(self) -> Iterator[Row]:
        """Read the rows to start with; call this before `write`."""
        if self.offset:
            with open(self.part, "rb") as file:
                yield from (row for _, row in self._format.lines.scan(file))

    def write(self, rows: Sequence[Row]) -> None:
        """Append the rows, all or none."""
        with self._complete_rows():
            self._stream.write(rows)

    def finish(self, job: JobStatus | None = None) -> None:
        """Turn FILE.part into FILE and flush it to the disk."""
        with self._complete_rows():
            self._stream.finish()
        try:
            if self.part != self._path:
                os.fsync(self._file.fileno())
                self._format.finish(self.part, self._path, job)
                remove(*self._beside)  # not before: they are needed to resume
                sync_folder(self._path)
        except OSError as exc:
            raise OutputFailed(
                f"{self._path!r} can't be written: {exc.strerror or exc}; the rows are in {self.part!r}"
            ) from exc
        except PigeonholeError as exc:
            raise OutputFailed(f"{exc}; the rows are in {self.part!r}") from exc
        finally:
            self._file.close()

    def close(self) -> None:
        """Close FILE.part, so that another command can resume."""
        self._file.close()

    def give_up(self) -> None:
        """Close FILE.part before the first new row; remove it if it has no row."""
        if not self.offset:
            remove(self.part, *self._beside)
        self._file.close()

    @contextmanager
    def _complete_rows(self) -> Iterator[None]:
        """Remove an incomplete row if a write fails."""
        try:
            yield
        except OutputFailed as exc:
            if self.part != self._path:
                os.ftruncate(self._file.fileno(), self._complete)
            self._file.close()
            raise OutputFailed(f"{self.part!r}: {exc}") from exc
        if self.part != self._path:
            self._complete = self._file.tell()
