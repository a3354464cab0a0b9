"""A reference → the pixels a network sees, within limits; or a typed error for that one image."""

import errno
import fcntl
import os
import stat
import sys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.errors import ImageError
from training.preprocess import Preprocessing, prepare
from worker.contract.errors import ImageUnreadable

#: What the system says when a path can't be opened → the kind of error row, and what to tell the user.
_OPEN_ERRORS = {
    errno.ENOENT: ("missing", "no such file"),
    errno.ENOTDIR: ("missing", "no such file: a part of its path is not a folder"),
    errno.EACCES: ("unreadable", "the worker may not read it"),
    errno.EPERM: ("unreadable", "the worker may not read it"),
    errno.ELOOP: ("unreadable", "its symbolic links go round in a circle"),
    errno.ENAMETOOLONG: ("unreadable", "its path is too long for this system"),
    errno.ENXIO: ("not-a-file", "it is a socket or a device"),
}


@dataclass(frozen=True)
class ImageReader:
    """Reads images below a root.

    Args:
        root: an absolute path; nothing outside it is read.
        preprocessing: the checkpoint's.
        max_bytes: a larger file is refused.
        max_pixels: an image of more pixels is refused, from its header.
    """

    root: str
    preprocessing: Preprocessing
    max_bytes: int
    max_pixels: int

    def pixels(self, reference: str) -> NDArray[np.uint8]:
        """Read, decode and preprocess one image.

        Args:
            reference: its path, relative to the root.

        Returns:
            uint8 [height, width, channels], as the checkpoint's network sees it.

        Raises:
            ImageUnreadable: it can't be, with the reason.
        """
        data = self._read(reference)
        try:
            return prepare(data, self.preprocessing, self.max_pixels)
        except ImageError as exc:
            raise ImageUnreadable(exc.kind, exc.message) from exc
        except MemoryError as exc:
            raise ImageUnreadable("too-large", "not enough memory to decode it; fewer processes leave more") from exc

    def _read(self, reference: str) -> bytes:
        if reference.startswith("/") or "\0" in reference:
            raise ImageUnreadable("outside", f"it is not below the worker's image root {self.root}")
        try:
            # O_NONBLOCK: a FIFO nobody writes to would hold the worker for ever.
            handle = os.open(os.path.join(self.root, reference), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            raise _unopened(exc) from exc
        try:
            return self._read_open(handle)
        except OSError as exc:
            raise ImageUnreadable("unreadable", f"reading it failed: {exc.strerror}") from exc
        finally:
            os.close(handle)

    def _read_open(self, handle: int) -> bytes:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ImageUnreadable("not-a-file", f"it is {kind}")
        self._check_inside(handle)
        if status.st_size > self.max_bytes:
            raise ImageUnreadable(
                "too-large", f"{status.st_size:,} bytes, and PIGEONHOLE_MAX_BYTES is {self.max_bytes:,}"
            )
        # One byte more than it should have, so that a file which grows meanwhile can't fill the memory.
        parts, left = [], status.st_size + 1
        while left > 0 and (part := os.read(handle, left)):
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @cached_property
    def _real_root(self) -> str:
        return os.path.realpath(self.root)

    def _check_inside(self, handle: int) -> None:
        """Ask the system where the open file lies: links can't be swapped any more behind this check."""
        if self._real_root != "/" and not _path_of(handle).startswith(self._real_root + "/"):
            raise ImageUnreadable("outside", f"it leads out of the worker's image root {self.root}")


def _path_of(handle: int) -> str:
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{handle}")


def _unopened(exc: OSError) -> ImageUnreadable:
    kind, message = _OPEN_ERRORS.get(exc.errno or 0, ("unreadable", f"it can't be opened: {exc.strerror}"))
    return ImageUnreadable(kind, message)
