"""Tells a volume that was unmounted or exchanged from images that are missing.

Where a volume is gone, its mount point is an empty folder, or no folder, and every image in it seems to be missing. So
a process remembers the device and inode of the folders that it reads in, and of the folders above them. On Linux it
also knows what was mounted when its worker started: it may have been started itself when a volume was gone already.
"""

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from pigeonhole.sources.reference import with_slash

#: What the system says where a volume does not answer.
_UNANSWERED = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO})
#: What it says of an image that may be absent because its volume is.
ABSENT = _UNANSWERED | {errno.ENOENT, errno.ENOTDIR}
#: Where Linux lists what is mounted, and where a worker's processes find what was when it started.
_TABLE = Path("/proc/self/mountinfo")
_VARIABLE = "_PIGEONHOLE_MOUNTED"
#: A variable of the environment has fewer than 131,072 bytes.
_LONGEST = 100_000
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
        started = os.environ.get(_VARIABLE)
        self._mounted = _unescaped(_mount_points() if started is None else started.split())
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

    def check(self, absent: Mapping[str, int]) -> None:
        """Raise FolderGone if the folder of an absent file is not the one that this process knows, or was not just now.

        Args:
            absent: path of a file below the root → what the system said when it was read, one of `ABSENT`.
        """
        folders = {file.rpartition("/")[0] for file in absent}
        unmounted = self._mounted - _unescaped(_mount_points()) if folders else frozenset()
        for folder in folders:
            path = self._changed(folder, unmounted)
            if path is not None:
                self._noted.clear()
                self._last = None
                raise FolderGone(
                    f"the folder {path!r} is gone, or is another one than before: was its volume unmounted? Mount it "
                    "again; if this is as it should be, restart the worker"
                )
        # The volume may have come back since the images were read.
        gone = (file for file, said in absent.items() if said not in _UNANSWERED)
        if back := next((file for file in gone if os.path.exists(self._top + file)), None):
            raise FolderGone(f"the file {self._top + back!r} was absent a moment ago, and is there now")

    def _changed(self, folder: str, unmounted: Set[str]) -> str | None:
        """Return the lowest folder, of one and those above it, that has changed; None where none has."""
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
            # A folder that was deleted leaves the device of the one above it; a volume does not.
            if device not in (None, now.device):
                return gone
            if known:
                return None if now == known else self._top + path
        return self._top

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


def remember_mounts() -> None:
    """Pass what is mounted now on to the processes of this worker."""
    points, size = list[str](), 0
    for point in sorted(_mount_points(), key=len):  # of too many, those deep in the tree are left out
        size += len(os.fsencode(point)) + 1
        if size > _LONGEST:
            break
        points.append(point)
    os.environ[_VARIABLE] = " ".join(points)


def _mount_points() -> list[str]:
    """Return where volumes are mounted, with the escapes of Linux's table; none on other systems."""
    try:
        lines = os.fsdecode(_TABLE.read_bytes()).splitlines()
    except OSError:
        return []
    return [line.split(" ")[4] for line in lines]


def _unescaped(points: Iterable[str]) -> frozenset[str]:
    """Return mount points without the table's escapes, `\\040` for a space."""
    return frozenset(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point) for point in points)
