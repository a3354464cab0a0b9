"""The interface of a source: one kind of place that images come from."""

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
#: Nanoseconds for which a change may get the times of an earlier one: by the kernel's clock, which ticks each 10 ms or
#: faster, and where a file system keeps seconds (ext4 with small inodes) or two of them (FAT).
_FINE, _COARSE = 20_000_000, 2_000_000_000
#: Nanoseconds of which coarse times are multiples: exFAT keeps hundredths of a second.
_COARSE_UNIT = 10_000_000


class Opened(NamedTuple):
    """The bytes of one image, and the identity of the file that they were read from; 0: it can't be trusted."""

    data: bytes
    identity: Identity


class Source(ABC):
    """One kind of place that images come from: it lists images in the producer, and opens them in the worker.

    A SOURCE `scheme:…` is listed by the source of that scheme. A local file is listed by the source that names its
    ending, and by `LocalFiles` otherwise. An instance serves one command, or one worker process; it may keep open what
    the next image is likely to need, until `close`.

    Args:
        root: the image root.
        max_bytes: an image of more bytes is refused.

    Attributes:
        scheme: its name, which references carry.
        endings: of local files that it lists, in lower case.
        clock: the time, in nanoseconds since the epoch.
        skipped: counts the files that `list` leaves out, since they are not named as images are.
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
        """Stream the references to the images that a SOURCE, or a list's entry, names.

        Raises:
            SourceError: it does not exist, can't be read or holds something that can't be referred to.
        """

    @abstractmethod
    def open(self, location: Location) -> Opened:
        """Read one image.

        Args:
            location: of this source's scheme. It comes from Redis: nothing in it is to be believed.

        Raises:
            ImageError: it can't be read, with the reason.
            LeadsOutside: it lies outside the image root.
            OSError: the system can't read it, perhaps only now.
        """

    def identity(self, location: Location) -> Identity:
        """Return the identity that an image's file has now, to compare with that of `open`; 0 if there is no file."""
        file = location.file
        try:
            return 0 if file.startswith("/") else identity_of(os.stat(self._top + file))
        except (OSError, ValueError):  # ValueError: a NUL byte in its name
            return 0

    def close(self) -> None:  # noqa: B027  # most sources keep nothing open
        """Close what is kept open, so that others may replace it."""


def identity_of(status: os.stat_result, read: int | None = None) -> Identity:
    """Return the identity of a file: of its size, modification and change time, and inode.

    Args:
        status: from `stat` or `fstat`.
        read: a time just before `status` was taken, in nanoseconds since the epoch. The identity is 0 where the file's
            times are so recent that a later change may get the same ones, as git does with racily clean entries.
    """
    modified, changed = status.st_mtime_ns, status.st_ctime_ns
    if read is not None:
        last = modified if modified > changed else changed  # `max` would double what this costs for each image
        if last > read - _COARSE and (last > read - _FINE or changed % _COARSE_UNIT == 0):
            return 0
    a, b, c, d = _FACTORS
    return (a * status.st_size + b * modified + c * changed + d * status.st_ino) & _BITS


def check_regular(status: os.stat_result) -> None:
    """Raise ImageError where something is not a regular file."""
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ImageError(ErrorKind.NOT_A_FILE, f"it is {kind}")


def check_size(size: int, max_bytes: int) -> None:
    """Raise ImageError where an image has more bytes than the limit."""
    if size > max_bytes:
        raise ImageError(ErrorKind.TOO_LARGE, f"{size:,} bytes, and PIGEONHOLE_MAX_BYTES is {max_bytes:,}")
