"""The interface of a source: one kind of place that images come from."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, TypeAlias

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Location, Reference, Root

#: Odd factors of a multilinear hash (D. Lemire, O. Kaser, "Strongly universal string hashing is fast", 2014).
_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
_BITS = 0xFFFFFFFFFFFFFFFF


#: 64 bits that differ where a file's size, one of its times, or its inode does: what a file was when it was read.
Identity: TypeAlias = int


class Opened(NamedTuple):
    """The bytes of one image, and the identity of the file that they were read from."""

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
    """

    scheme: ClassVar[str]
    endings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: Root, max_bytes: int = Settings.max_bytes) -> None:
        self.root = root
        self.max_bytes = max_bytes

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

    def close(self) -> None:  # noqa: B027  # most sources keep nothing open
        """Close what is kept open, so that others may replace it."""


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file, from its `fstat`: of size, modification and change time, and inode."""
    a, b, c, d = _FACTORS
    return (a * status.st_size + b * status.st_mtime_ns + c * status.st_ctime_ns + d * status.st_ino) & _BITS


def check_regular(status: os.stat_result) -> None:
    """Raise ImageError where something is not a regular file."""
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ImageError(ErrorKind.NOT_A_FILE, f"it is {kind}")


def check_size(size: int, max_bytes: int) -> None:
    """Raise ImageError where an image has more bytes than the limit."""
    if size > max_bytes:
        raise ImageError(ErrorKind.TOO_LARGE, f"{size:,} bytes, and PIGEONHOLE_MAX_BYTES is {max_bytes:,}")
