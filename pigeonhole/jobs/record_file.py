"""An append-only file of records, each with its length and a checksum.

A record is `MAGIC`, its kind, the length of its body, a CRC-32 of kind, length and body, and then the body;
little-endian. Reading skips a damaged record and continues at the next `MAGIC` that begins a valid one.
"""

import errno
import fcntl
import mmap
import os
import struct
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from pigeonhole.errors import OutputFailed

#: Not valid UTF-8, so no text in a body contains it.
MAGIC = b"\xf7PH\n"
_HEAD = struct.Struct("<4sBII")
_CHECKED = struct.Struct("<BI")


class Record(NamedTuple):
    """One record: its offset in the file, its kind from 0 to 255, and its body."""

    offset: int
    kind: int
    body: bytes


class RecordFile:
    """A file of records, open for appending and reading from several threads.

    Args:
        handle: the descriptor of the open file; `close` closes it.
        name: the name of the file, for messages.
    """

    def __init__(self, handle: int, name: str) -> None:
        self.name = name
        self._handle = handle
        self._close = weakref.finalize(self, os.close, handle)
        self._size = os.fstat(handle).st_size
        self._lock = threading.Lock()

    @classmethod
    def locked(cls, path: str, warn: Callable[[str], None]) -> "RecordFile":
        """Open or create a file, and lock it until it is closed.

        Args:
            path: the path of the file.
            warn: called with a message if the file system has no locks.

        Raises:
            OutputFailed: another process has locked the file.
            OSError: the file can't be opened.
        """
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                _lock(handle, path, warn)
                if _is_at(path, handle):  # a user may have removed the file in between
                    return cls(handle, path)
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    @classmethod
    def temporary(cls) -> "RecordFile":
        """Open a temporary file that is deleted when it is closed; raise OutputFailed if that fails."""
        try:
            with tempfile.TemporaryFile() as file:
                return cls(os.dup(file.fileno()), "the temporary file of submitted batches")
        except OSError as exc:
            raise OutputFailed(f"can't create a temporary file: {exc.strerror}. Set TMPDIR to another folder") from exc

    def append(self, kind: int, body: bytes) -> int:
        """Append a record, all of it or nothing, and return its offset.

        Args:
            kind: the kind of the record, from 0 to 255.
            body: its content.

        Raises:
            OutputFailed: the record can't be written, for instance to a full disk.
        """
        data = _HEAD.pack(MAGIC, kind, len(body), _checksum(kind, body)) + body
        with self._lock:
            offset = self._size
            try:
                if os.pwrite(self._handle, data, offset) != len(data):
                    raise OSError(errno.ENOSPC, "the disk is full")
            except OSError as exc:
                with suppress(OSError):  # half a record is skipped when it is read
                    os.ftruncate(self._handle, offset)
                raise OutputFailed(f"{self.name!r} can't be written: {exc.strerror}") from exc
            self._size += len(data)
            return offset

    def read(self, offset: int) -> Record:
        """Return the record at an offset; raise ValueError if there is none, or it is damaged."""
        head = os.pread(self._handle, _HEAD.size, offset)
        if len(head) < _HEAD.size:
            raise ValueError(f"no record at {offset}")
        magic, kind, length, checksum = _HEAD.unpack(head)
        if magic != MAGIC or offset + _HEAD.size + length > self._size:
            raise ValueError(f"no record at {offset}")
        body = os.pread(self._handle, length, offset + _HEAD.size)
        if _checksum(kind, body) != checksum:
            raise ValueError(f"a damaged record at {offset}")
        return Record(offset, kind, body)

    def __iter__(self) -> Iterator[Record]:
        """Yield the valid records in their order."""
        offset = 0
        while offset < self._size:
            try:
                record = self.read(offset)
            except ValueError:
                offset = self._next(offset + 1)
                continue
            yield record
            offset += _HEAD.size + len(record.body)

    def clear(self) -> None:
        """Remove all records; raise OutputFailed if that fails."""
        try:
            os.ftruncate(self._handle, 0)
        except OSError as exc:
            raise OutputFailed(f"{self.name!r} can't be written: {exc.strerror}") from exc
        self._size = 0

    def sync(self) -> None:
        """Flush the records to the disk, if the file system supports it."""
        with suppress(OSError):
            os.fsync(self._handle)

    def remove(self) -> None:
        """Remove the file while it is locked; a process that waits for the lock then creates a new one."""
        with suppress(OSError):
            os.unlink(self.name)

    def close(self) -> None:
        """Close and unlock the file."""
        self._close()

    def _next(self, start: int) -> int:
        """Return the offset of the next `MAGIC`, or the size of the file if there is none."""
        if start >= self._size:
            return self._size
        with mmap.mmap(self._handle, self._size, access=mmap.ACCESS_READ) as content:
            found = content.find(MAGIC, start)
        return self._size if found < 0 else found


def _checksum(kind: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_CHECKED.pack(kind, len(body))))


def _lock(handle: int, path: str, warn: Callable[[str], None]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise OutputFailed(
            f"another command is writing the same file (it has locked {path!r}): wait for its end, or choose another "
            "file with -o"
        ) from exc
    except OSError as exc:
        warn(f"{path!r} can't be locked ({exc.strerror}): do not run two commands on one file at the same time")


def _is_at(path: str, handle: int) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
