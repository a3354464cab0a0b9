"""A reference → the pixels a network sees, within limits; or a typed error for that one image."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.imaging.preprocess import Decoded, decode, prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.sources.beneath import LeadsOutside, open_beneath
from pigeonhole.sources.members import Archives, check_regular, too_large
from pigeonhole.sources.spans import Span

T = TypeVar("T")

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
#: Seconds before a read is tried again: five attempts in one second.
_PAUSES = (0.05, 0.15, 0.3, 0.5)


class Patience:
    """How long reads that fail in passing may be waited for.

    Each has its second, but a disk that is gone for good must not cost a batch of 2,048 images half an hour: there
    are 20 seconds, and one in ten that pass comes back.

    Args:
        clock: gives seconds that only rise.
        sleep: waits for so many seconds.
    """

    _MOST = 20.0
    _GAINED = 0.1

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._left, self._since = self._MOST, clock()

    def wait(self, seconds: float) -> bool:
        """Wait, unless there is no patience left; returns whether it did."""
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
        preprocessing: the checkpoint's.
        max_bytes: a larger file is refused.
        max_pixels: an image of more pixels is refused, from its header.
        patience: with reads that fail in passing.
        archives: what is open of them.
    """

    root: str
    preprocessing: Preprocessing
    max_bytes: int
    max_pixels: int
    patience: Patience = field(default_factory=Patience, compare=False)
    archives: Archives = field(default_factory=Archives, compare=False)

    def pixels(self, reference: str, span: Span | None = None) -> NDArray[np.uint8]:
        """Read, decode and preprocess one image.

        Args:
            reference: its path, relative to the root.
            span: where it lies in that file, where that is an archive; until `close` this stays open for the next one.

        Returns:
            uint8 [height, width, channels], as the checkpoint's network sees it.

        Raises:
            ImageError: it can't be, with the reason.
        """
        return self._typed(lambda: prepare(self._read(reference, span), self.preprocessing, self.max_pixels))

    def decoded(self, reference: str, span: Span | None = None) -> Decoded:
        """Read and decode one image; `apply_all` does the rest for many.

        Raises:
            ImageError: it can't be, with the reason.
        """
        return self._typed(lambda: decode(self._read(reference, span), self.preprocessing, self.max_pixels))

    def close(self) -> None:
        """Close the archive that is open, if there is one; after a number of images, for others may replace it."""
        self.archives.close()

    def _typed(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except MemoryError as exc:
            raise ImageError(ErrorKind.TOO_LARGE, "not enough memory to decode it; fewer processes leave more") from exc

    def _read(self, reference: str, span: Span | None = None) -> bytes:
        if reference.startswith("/") or "\0" in reference:
            raise self._outside()
        pauses = iter(_PAUSES)
        while True:
            try:
                # From the start each time: a stale handle stays stale.
                return self._read_once(reference, span)
            except OSError as exc:
                self.archives.close()
                pause = next(pauses, None) if exc.errno in _PASSING else None
                if pause is None or not self.patience.wait(pause):
                    raise _unreadable(exc) from exc

    def _read_once(self, reference: str, span: Span | None) -> bytes:
        try:
            if span is not None:
                return self.archives.read(self.root, reference, span, self.max_bytes)
            handle = open_beneath(self.root, reference)
        except LeadsOutside as exc:
            raise self._outside() from exc
        try:
            return self._read_open(handle)
        finally:
            os.close(handle)

    def _outside(self) -> ImageError:
        return ImageError(ErrorKind.OUTSIDE, f"it is not below the worker's image root {self.root}")

    def _read_open(self, handle: int) -> bytes:
        status = os.fstat(handle)
        check_regular(status)
        if status.st_size > self.max_bytes:
            raise too_large(status.st_size, self.max_bytes)
        # One byte more than it should have, so that a file which grows meanwhile can't fill the memory.
        data = os.read(handle, status.st_size + 1)
        while len(data) != status.st_size and (part := os.read(handle, status.st_size + 1 - len(data))):
            data += part  # a network file system may give a file in parts
        return data


def _unreadable(exc: OSError) -> ImageError:
    kind, message = _OPEN_ERRORS.get(exc.errno or 0, (ErrorKind.UNREADABLE, f"reading it failed: {exc.strerror}"))
    return ImageError(kind, message)
