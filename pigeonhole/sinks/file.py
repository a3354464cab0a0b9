"""The sink that writes a file: rows are appended to FILE.part, which becomes FILE when the run is finished."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pigeonhole.errors import OutputFailed, PigeonholeError
from pigeonhole.filesystem.output_files import PART, is_special, open_special, sync_folder, target
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.sink import Stream


class File:
    """Writes rows to FILE.part, which becomes FILE.

    Args:
        path: the path of FILE. Pipes, devices and open files (/dev/stdout) are written directly, without FILE.part. A
            link is resolved to its target.
        format: the format of FILE; for pipes, devices and open files, a `LineFormat`.

    Attributes:
        part: the path of FILE.part, or of the pipe or device.

    Raises:
        OutputFailed: the file can't be opened.
    """

    def __init__(self, path: str, format: Format) -> None:
        special = is_special(path)
        self._path = path if special else target(path)
        self._format = format
        self.part = path if special else self._path + PART
        try:
            # Closed by `finish` or `close`.
            self._file = open_special(path) if special else open(self.part, "wb", buffering=0)  # noqa: SIM115
        except OSError as exc:
            raise cannot_write(self.part, exc) from exc
        self._stream = Stream(self._file, format.lines)

    def write(self, rows: Sequence[Row]) -> None:
        """Append the rows."""
        with self._naming():
            self._stream.write(rows)

    def finish(self, job: JobStatus | None = None) -> None:
        """Turn FILE.part into FILE and flush it to the disk."""
        with self._naming():
            self._stream.finish()
        try:
            if self.part != self._path:
                os.fsync(self._file.fileno())
                self._format.finish(self.part, self._path, job)
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
        """Close FILE.part."""
        self._file.close()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """If the block fails, close the file and add its name to the error."""
        try:
            yield
        except PigeonholeError as exc:
            self._file.close()
            raise OutputFailed(f"{self.part!r}: {exc}") from exc


def cannot_write(path: str, exc: OSError) -> OutputFailed:
    """Return the error for a file that can't be created, with the remedy."""
    folder = os.path.dirname(path)
    why = f"{exc.strerror};"
    if folder and not os.path.exists(folder):
        why = f"the folder {folder!r} does not exist; make it, or"
    return OutputFailed(f"{path!r} can't be written: {why} choose another place with -o")
