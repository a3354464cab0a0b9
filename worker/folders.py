"""Tells a volume that was unmounted or exchanged from images that are missing.

Where a volume is gone, its mount point is an empty folder, or no folder, and every image in it seems to be missing. So
a process remembers the device and inode of the folders that it reads in, and of the folders above them.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pigeonhole.sources.reference import with_slash

#: What the system says where a volume does not answer.
_UNANSWERED = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO})
#: What it says of an image that may be absent because its volume is.
ABSENT = _UNANSWERED | {errno.ENOENT, errno.ENOTDIR}
#: Folders that are remembered.
_MOST = 10_000


class FolderGone(Exception):
    """Raised when images are absent, and so is the folder that they were in, or another is in its place."""


class _Identity(NamedTuple):
    """What tells a folder from another one in its place."""

    device: int
    inode: int


#: Of a folder whose volume does not answer.
_UNANSWERING = _Identity(-1, -1)


class Folders:
    """The folders that one process reads images in.

    Args:
        root: the image root.
    """

    def __init__(self, root: str) -> None:
        self._top = with_slash(root)
        self._known = dict[str, _Identity]()
        self._noted = set[str]()  # since `check` failed last: then a folder that can be read again may be another one
        self._last: str | None = None
        self.note("")

    def note(self, file: str) -> None:
        """Remember the folder of a file that was read, and the folders above it; the file's path is below the root."""
        folder = file.rpartition("/")[0]
        if folder == self._last:
            return
        self._last = folder
        if len(self._known) >= _MOST:
            self._known.clear()
            self._noted.clear()
        for path in _upward(folder):
            if path in self._noted:
                return
            identity = self._identity(path)
            if identity is not None and identity != _UNANSWERING:
                self._known[path] = identity
                self._noted.add(path)

    def check(self, absent: Iterable[str]) -> None:
        """Raise FolderGone if the folder of a file that is absent is not the one that this process knows."""
        for folder in {file.rpartition("/")[0] for file in absent}:
            if (path := self._changed(folder)) is not None:
                self._noted.clear()
                self._last = None
                raise FolderGone(
                    f"the folder {self._top + path!r} is gone, or is another one than before: was its volume "
                    "unmounted? Mount it again; if this is as it should be, restart the worker"
                )

    def _changed(self, folder: str) -> str | None:
        """Return the lowest folder, of one and those above it, that has changed; None where none has."""
        gone, device = None, None
        for path in _upward(folder):
            known, now = self._known.get(path), self._identity(path)
            if now == _UNANSWERING:
                return path
            if now is None:
                if known and device is None:
                    gone, device = path, known.device
                continue
            # A folder that was deleted leaves the device of the one above it; a volume does not.
            if device not in (None, now.device):
                return gone
            if known:
                return None if now == known else path
        return ""

    def _identity(self, path: str) -> _Identity | None:
        """Return what a folder is now; None where there is none."""
        try:
            status = os.stat(self._top + path)
        except OSError as exc:
            return _UNANSWERING if exc.errno in _UNANSWERED else None
        return _Identity(status.st_dev, status.st_ino)


def _upward(folder: str) -> Iterator[str]:
    """Yield a folder below the root, the folders above it, and the root as the empty path."""
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""
