"""A location → the network's input, within limits on bytes and pixels; or a typed error for that one image."""

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

#: The system's error code when a path can't be opened → the kind of the error row, and its message.
_OPEN_ERRORS = {
    errno.ENOENT: (ErrorKind.MISSING, "no such file"),
    errno.ENOTDIR: (ErrorKind.MISSING, "no such file: a part of its path is not a folder"),
    errno.EACCES: (ErrorKind.UNREADABLE, "the worker may not read it"),
    errno.EPERM: (ErrorKind.UNREADABLE, "the worker may not read it"),
    errno.ELOOP: (
        ErrorKind.UNREADABLE,
        "its links form a circle, lead through /proc, or changed while it was opened",
    ),
    errno.ENAMETOOLONG: (ErrorKind.UNREADABLE, "its path is too long for this system"),
    errno.ENXIO: (ErrorKind.NOT_A_FILE, "it is a socket or a device"),
}

#: Transient errors, which may be gone at the next attempt: of a disk, a network file system, or too many open files.
_TRANSIENT = frozenset(
    {
        *(errno.EIO, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENFILE, errno.EMFILE, errno.ENOMEM),
        *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH),
    }
)


class ReadBudget:
    """The total time that one process may spend waiting for retries of reads.

    The pauses of one read add up to a second. Without a budget, a disk that is gone would delay a batch of 2,048 images
    by half an hour. The budget is 20 seconds and refills by one second in ten.

    Args:
        clock: returns a time in seconds that never goes back.
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
        """Wait, unless the rest of the budget is too small; return whether it waited."""
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
        preprocessing: the model's preprocessing.
        max_bytes: the largest file, in bytes; a larger one is an error.
        max_pixels: the most pixels that an image's header may announce; an image with more is an error.
        budget: the time that this process may wait for retries of reads.
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
            location: the image. The archive that contains it stays open for the next image, until `close`.

        Returns:
            uint8 [height, width, channels], the network's input.

        Raises:
            ImageError: the image can't be read or decoded, with the reason.
        """
        try:
            return prepare(self.read(location).data, self.preprocessing, self.max_pixels)
        except MemoryError as exc:
            raise _no_memory() from exc

    def decoded(self, location: Location) -> Decoded:
        """Read and decode one image, or raise ImageError with the reason."""
        return self.decode(self.read(location).data)

    def decode(self, data: bytes) -> Decoded:
        """Decode the bytes of one image; `Preprocessing.apply_all` then takes many decoded images.

        Raises:
            ImageError: the bytes can't be decoded, with the reason.
        """
        try:
            return decode(data, self.preprocessing, self.max_pixels)
        except MemoryError as exc:
            raise _no_memory() from exc

    def read(self, location: Location) -> Opened:
        """Read the bytes of one image; after a transient error, try again.

        Raises:
            ImageError: the image can't be read, with the reason.
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

        def reopen() -> Opened:
            # Closed first, because a stale file handle stays stale.
            source.close()
            if failed:
                raise failed.pop()
            return source.open(location)

        try:
            return retry(reopen, READ, _is_transient, sleep=self.budget.wait)
        except LeadsOutside as exc:
            raise self._outside() from exc
        except OSError as exc:
            raise _unreadable(exc) from exc

    def close(self) -> None:
        """Close the archives that the sources keep open, because they may be replaced before the next batch."""
        for source in self._sources.values():
            source.close()

    def _source(self, scheme: str) -> Source:
        kind = by_scheme(scheme)
        if kind is None:
            raise ImageError(ErrorKind.UNSUPPORTED, f"this worker does not know {scheme!r} sources: update it")
        return self._sources.setdefault(scheme, kind(Root(self.root), self.max_bytes))

    def _outside(self) -> ImageError:
        return ImageError(ErrorKind.OUTSIDE, f"it is not below the worker's image root {self.root}")


def _no_memory() -> ImageError:
    return ImageError(ErrorKind.TOO_LARGE, "not enough memory to decode it: run fewer worker processes")


def _is_transient(exc: Exception) -> bool:
    return isinstance(exc, OSError) and exc.errno in _TRANSIENT


def _unreadable(exc: OSError) -> ImageError:
    kind, message = _OPEN_ERRORS.get(exc.errno or 0, (ErrorKind.UNREADABLE, f"reading it failed: {exc.strerror}"))
    return ImageError(kind, message)
