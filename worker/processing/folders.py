"""Distinguishes an unmounted or exchanged volume from missing images.

When a volume is unmounted, its mount point is an empty folder or no folder, and every image in it seems to be missing.
So a process remembers the device and inode of each folder that it reads from, and of the folders above it. On Linux it
also knows the mount points of the time when its worker started, because a process may start after an unmount.
"""

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from pigeonhole.sources.reference import with_slash

#: Error numbers of a volume that does not answer.
_UNANSWERED = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO})
#: Error numbers of an image that may be absent because its volume is.
ABSENT = _UNANSWERED | {errno.ENOENT, errno.ENOTDIR}
#: The file in which Linux lists mount points, and the variable with those of the worker's start.
_TABLE = Path("/proc/self/mountinfo")
_VARIABLE = "_PIGEONHOLE_MOUNTED"
#: Bytes of that variable: Linux allows fewer than 131,072.
_LONGEST = 100_000
#: The number of remembered folders.
_MOST = 10_000


class FolderGone(Exception):
    """Raised when images are absent because their folder is gone or was exchanged."""


class _Identity(NamedTuple):
    """The device and inode of a folder, which differ if another folder takes its place."""

    device: int
    inode: int


#: The identity of a folder whose volume does not answer.
_UNANSWERING = _Identity(-1, -1)


class Folders:
    """The folders that one process reads images from.

    Args:
        root: the image root.
    """

    def __init__(self, root: str) -> None:
        self._top = with_slash(root)
        started = os.environ.get(_VARIABLE)
        self._mounted = _unescaped(_mount_points() if started is None else started.split())
        self._known = dict[str, _Identity]()
        self._noted = set[str]()  # since `check` failed last: a folder that is back may be another one
        self._last: str | None = None
        self.note("")

    def note(self, file: str) -> None:
        """Remember the folder of a file that was read, and the folders above it.

        Args:
            file: its path below the root.
        """
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

    def check(self, absent: Mapping[str, int]) -> None:
        """Raise FolderGone if the folder of an absent file has changed, or if the file is back.

        Args:
            absent: path of a file below the root → the error number of reading it, one of `ABSENT`.
        """
        folders = {file.rpartition("/")[0] for file in absent}
        unmounted = self._mounted - _unescaped(_mount_points()) if folders else frozenset()
        for folder in folders:
            path = self._changed(folder, unmounted)
            if path is not None:
                self._noted.clear()
                self._last = None
                raise FolderGone(
                    f"the folder {path!r} is gone or was replaced. Was its volume unmounted? Mount it again; if the "
                    "change is intended, restart the worker"
                )
        # The volume may be back since the images were read.
        gone = (file for file, said in absent.items() if said not in _UNANSWERED)
        if back := next((file for file in gone if os.path.exists(self._top + file)), None):
            raise FolderGone(f"the file {self._top + back!r} was absent a moment ago and is there now")

    def _changed(self, folder: str, unmounted: Set[str]) -> str | None:
        """Return the lowest changed folder among a folder and those above it; None if none has changed."""
        if unmounted:
            real = os.path.realpath(self._top + folder)
            for path in unmounted:
                if (real + "/").startswith(with_slash(path)):
                    return path
        gone, device = None, None
        for path in _upward(folder):
            known, now = self._known.get(path), self._identity(path)
            if now == _UNANSWERING:
                return self._top + path
            if now is None:
                if known and device is None:
                    gone, device = self._top + path, known.device
                continue
            # A deleted folder was on the device of its parent folder; an unmounted volume was not.
            if device not in (None, now.device):
                return gone
            if known:
                return None if now == known else self._top + path
        return self._top

    def _identity(self, path: str) -> _Identity | None:
        """Return the identity of a folder; None if there is no such folder."""
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


def remember_mounts() -> None:
    """Pass the current mount points to the processes of this worker."""
    points, size = list[str](), 0
    for point in sorted(_mount_points(), key=len):  # if there are too many, the deepest are left out
        size += len(os.fsencode(point)) + 1
        if size > _LONGEST:
            break
        points.append(point)
    os.environ[_VARIABLE] = " ".join(points)


def _mount_points() -> list[str]:
    """Return the mount points, escaped as in Linux's table; an empty list on other systems."""
    try:
        lines = os.fsdecode(_TABLE.read_bytes()).splitlines()
    except OSError:
        return []
    return [line.split(" ")[4] for line in lines]


def _unescaped(points: Iterable[str]) -> frozenset[str]:
    """Return mount points without the table's escapes, `\\040` for a space."""
    return frozenset(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point) for point in points)
