"""The interface of sources, from which images come: files, archives, memory and others."""

import os
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Identity, Location, Reference, Root, with_slash
from pigeonhole.sources.skipped import Skipped

#: Odd factors of a multilinear hash (D. Lemire, O. Kaser, "Strongly universal string hashing is fast", 2014).
_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
_BITS = 0xFFFFFFFFFFFFFFFF
#: Nanoseconds within which two changes of a file may get the same time. Fine: the kernel's clock ticks every 10 ms or
#: faster. Coarse: some file systems store seconds (ext4 with small inodes) or pairs of seconds (FAT).
_FINE, _COARSE = 20_000_000, 2_000_000_000
#: Coarse times are multiples of this number of nanoseconds: exFAT stores hundredths of a second.
_COARSE_UNIT = 10_000_000


class Opened(NamedTuple):
    """The bytes of one image, and the identity of its file; 0: the file has changed too recently to have one."""

    data: bytes
    identity: Identity


class Source(ABC):
    """A source lists images in the producer, and opens them in the worker.

    A SOURCE `scheme:…` is listed by the source with that scheme. A local file is listed by the source with its ending,
    otherwise by `LocalFiles`. An instance is used by one command or one worker process. It may keep a file open for the
    next image, until `close`.

    Args:
        root: the image root.
        max_bytes: the largest image that is opened, in bytes.

    Attributes:
        scheme: the name of the source in SOURCEs and references.
        endings: the endings, in lower case, of local files that it lists.
        clock: returns the time in nanoseconds since the epoch.
        skipped: counts the files that `list` leaves out because they have no image extension.
    """

    scheme: ClassVar[str]
    endings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: Root, max_bytes: int = Settings.max_bytes) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self.clock: Callable[[], int] = time.time_ns
        self.skipped = Skipped()
        self._top = with_slash(root.path)

    @abstractmethod
    def list(self, argument: str) -> Iterator[Reference]:
        """Yield the references for a SOURCE or an entry of a list.

        Raises:
            SourceError: it does not exist, can't be read, or has an image for which there can be no reference.
        """

    @abstractmethod
    def open(self, location: Location) -> Opened:
        """Read one image.

        Args:
            location: a location with this source's scheme. It comes from Redis and may be forged: validate everything.

        Raises:
            ImageError: the image can't be read; the error has the reason.
            LeadsOutside: the location lies outside the image root.
            OSError: the system can't read the file; a retry may succeed.
        """

    def identity(self, location: Location) -> Identity:
        """Return the current identity of an image's file, to compare with that of `open`; 0: there is no file."""
        file = location.file
        try:
            return 0 if file.startswith("/") else identity_of(os.stat(self._top + file))
        except (OSError, ValueError):  # ValueError: a NUL byte in its name
            return 0

    def close(self) -> None:  # noqa: B027  # most sources keep nothing open
        """Close files that are kept open."""


def identity_of(status: os.stat_result, read: int | None = None) -> Identity:
    """Return the identity of a file: a hash of its size, modification time, change time and inode.

    Args:
        status: the result of `stat` or `fstat`.
        read: the time just before `status` was read, in nanoseconds since the epoch. If the file was changed so shortly
            before that a later change may get the same times, the identity is 0 (compare git's racily clean entries).
    """
    modified, changed = status.st_mtime_ns, status.st_ctime_ns
    if read is not None:
        last = modified if modified > changed else changed  # `max` would double the time of this function
        if last > read - _COARSE and (last > read - _FINE or changed % _COARSE_UNIT == 0):
            return 0
    a, b, c, d = _FACTORS
    return (a * status.st_size + b * modified + c * changed + d * status.st_ino) & _BITS


def check_regular(status: os.stat_result) -> None:
    """Raise ImageError if the status is not that of a regular file."""
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ImageError(ErrorKind.NOT_A_FILE, f"it is {kind}")


def check_size(size: int, max_bytes: int) -> None:
    """Raise ImageError if an image has more bytes than the limit."""
    if size > max_bytes:
        raise ImageError(ErrorKind.TOO_LARGE, f"{size:,} bytes, and PIGEONHOLE_MAX_BYTES is {max_bytes:,}")
