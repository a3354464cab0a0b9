"""A location → the pixels that a network sees, within limits; or a typed error for that one image."""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.imaging.preprocess import Decoded, decode, prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.retry import READ, retry
from pigeonhole.sources.beneath import LeadsOutside
from pigeonhole.sources.reference import Location, Root
from pigeonhole.sources.registry import by_scheme
from pigeonhole.sources.source import Opened, Source

#: What the system says when a path can't be opened → the kind of error row, and what to tell the user.
_OPEN_ERRORS = {
    errno.ENOENT: (ErrorKind.MISSING, "no such file"),
    errno.ENOTDIR: (ErrorKind.MISSING, "no such file: a part of its path is not a folder"),
    errno.EACCES: (ErrorKind.UNREADABLE, "the worker may not read it"),
    errno.EPERM: (ErrorKind.UNREADABLE, "the worker may not read it"),
    errno.ELOOP: (
        ErrorKind.UNREADABLE,
        "its links go round in a circle, lead through /proc, or were changed meanwhile",
    ),
    errno.ENAMETOOLONG: (ErrorKind.UNREADABLE, "its path is too long for this system"),
    errno.ENXIO: (ErrorKind.NOT_A_FILE, "it is a socket or a device"),
}

#: What may be gone at the next attempt: a disk's or a network file system's passing trouble, too many open files.
_PASSING = frozenset(
    {
        *(errno.EIO, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENFILE, errno.EMFILE, errno.ENOMEM),
        *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH),
    }
)


class ReadBudget:
    """The seconds that one process may wait for reads that fail in passing.

    Each read has its second, but a disk that is gone for good must not cost a batch of 2,048 images half an hour: there
    are 20 seconds, and one in ten that pass comes back.

    Args:
        clock: gives seconds that only rise.
        sleep: waits for a number of seconds.
    """

    _MOST = 20.0
    _GAINED = 0.1

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._left, self._since = self._MOST, clock()

    def wait(self, seconds: float) -> bool:
        """Wait, unless the budget is spent; return whether it did."""
        now = self._clock()
        self._left, self._since = min(self._MOST, self._left + self._GAINED * (now - self._since)), now
        if seconds > self._left:
            return False
        self._left -= seconds
        self._sleep(seconds)
        return True


@dataclass(frozen=True)
class ImageReader:
    """Reads images below a root.

    Args:
        root: an absolute path; nothing outside it is read.
        preprocessing: the model's.
        max_bytes: a larger file is refused.
        max_pixels: an image of more pixels is refused, from its header.
        budget: of waiting for reads that fail in passing.
    """

    root: str
    preprocessing: Preprocessing
    max_bytes: int
    max_pixels: int
    budget: ReadBudget = field(default_factory=ReadBudget, compare=False)
    _sources: dict[str, Source] = field(default_factory=dict, init=False, compare=False)

    def pixels(self, location: Location) -> NDArray[np.uint8]:
        """Read, decode and preprocess one image.

        Args:
            location: an archive that it lies in stays open for the next image, until `close`.

        Returns:
            uint8 [height, width, channels], as the model's network sees it.

        Raises:
            ImageError: it can't be, with the reason.
        """
        try:
            return prepare(self.read(location).data, self.preprocessing, self.max_pixels)
        except MemoryError as exc:
            raise _no_memory() from exc

    def decoded(self, location: Location) -> Decoded:
        """Read and decode one image. ImageError: it can't be, with the reason."""
        return self.decode(self.read(location).data)

    def decode(self, data: bytes) -> Decoded:
        """Decode the bytes of one image; `Preprocessing.apply_all` does the rest for many.

        Raises:
            ImageError: they can't be, with the reason.
        """
        try:
            return decode(data, self.preprocessing, self.max_pixels)
        except MemoryError as exc:
            raise _no_memory() from exc

    def read(self, location: Location) -> Opened:
        """Read the bytes of one image; what fails in passing is tried again.

        Raises:
            ImageError: it can't be, with the reason.
        """
        scheme, root, path, _ = location
        if root.startswith("/") or "\0" in root or "\0" in path:
            raise self._outside()
        source = self._sources.get(scheme) or self._source(scheme)
        try:
            return source.open(location)
        except LeadsOutside as exc:
            raise self._outside() from exc
        except OSError as exc:
            failed = [exc]

        def again() -> Opened:
            # From the start each time: a stale handle stays stale.
            source.close()
            if failed:
                raise failed.pop()
            return source.open(location)

        try:
            return retry(again, READ, _is_passing, sleep=self.budget.wait)
        except LeadsOutside as exc:
            raise self._outside() from exc
        except OSError as exc:
            raise _unreadable(exc) from exc

    def close(self) -> None:
        """Close what the sources keep open, for others may replace it."""
        for source in self._sources.values():
            source.close()

    def _source(self, scheme: str) -> Source:
        kind = by_scheme(scheme)
        if kind is None:
            raise ImageError(ErrorKind.UNSUPPORTED, f"this worker knows no {scheme!r} sources: update it")
        return self._sources.setdefault(scheme, kind(Root(self.root), self.max_bytes))

    def _outside(self) -> ImageError:
        return ImageError(ErrorKind.OUTSIDE, f"it is not below the worker's image root {self.root}")


def _no_memory() -> ImageError:
    return ImageError(ErrorKind.TOO_LARGE, "not enough memory to decode it; fewer processes leave more")


def _is_passing(exc: Exception) -> bool:
    return isinstance(exc, OSError) and exc.errno in _PASSING


def _unreadable(exc: OSError) -> ImageError:
    kind, message = _OPEN_ERRORS.get(exc.errno or 0, (ErrorKind.UNREADABLE, f"reading it failed: {exc.strerror}"))
    return ImageError(kind, message)
