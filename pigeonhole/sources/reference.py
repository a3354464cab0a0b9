"""References: what the producer lists of an image and the worker opens it by."""

import os
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pigeonhole.errors import SourceError

#: Where an image lies in a larger file, in whole numbers from 0 to below 2**63 that its source defines.
Place: TypeAlias = tuple[int, ...]

#: 64 bits that differ where a file's size, one of its times, or its inode does: what a file was when it was read.
Identity: TypeAlias = int


class Location(NamedTuple):
    """Where a worker finds one image.

    Args:
        scheme: of the source that opens it: `file`, `zip`, `tar`, …
        root: the beginning of its path below the image root: of a file's path, or the whole path of an archive.
        path: the rest of a file's path; of an archive's member `::` and its name.
        place: where it lies in `root`; empty where it is a file of its own.
    """

    scheme: str
    root: str
    path: str
    place: Place = ()

    @property
    def file(self) -> str:
        """The path below the image root of the file that it lies in: its own, or its archive's."""
        return self.root if self.place else self.root + self.path


class Reference(NamedTuple):
    """One image, as the producer lists it. It is shown to the user as `shown + path`.

    Args:
        scheme, root, path, place: its `Location`.
        shown: the beginning of its path as the user named it.
        size: its file's size in bytes, or an estimate: batches are cut by it.
    """

    scheme: str
    shown: str
    root: str
    path: str
    place: Place = ()
    size: int = 0

    @property
    def file(self) -> str:
        """The file that it lies in, as the user named it: itself, or its archive."""
        return self.shown if self.place else self.shown + self.path


@dataclass(frozen=True)
class Root:
    """An image root: the folder that references are relative to.

    Args:
        path: absolute; below `/` lies everything.
    """

    path: str

    def below(self, path: str) -> str | None:
        """Return a path relative to the root, or None where it lies outside.

        A path that is inside by its spelling keeps its spelling; links are resolved only otherwise.

        Raises:
            SourceError: the working folder is gone.
        """
        try:
            absolute = os.path.join(os.getcwd(), path)
        except FileNotFoundError as exc:
            raise SourceError("the folder that this runs in is gone: change to another") from exc
        if ".." not in absolute.split("/"):
            inside = relative(_normal(absolute), _normal(self.path))
            if inside is not None:
                return inside
        folder, name = os.path.split(absolute)
        real = os.path.realpath(absolute)
        named = real if name in ("", ".", "..") else os.path.join(os.path.realpath(folder), name)
        root = os.path.realpath(self.path)
        inside = relative(named, root)
        return relative(real, root) if inside is None else inside

    def below_or_absolute(self, path: str) -> str:
        """Return a path relative to the root; outside, the absolute path, which a worker refuses in its row."""
        inside = self.below(path)
        return os.path.abspath(path) if inside is None else inside


def relative(path: str, folder: str) -> str | None:
    """Return a path relative to a folder (empty: the folder itself), or None where it is not inside."""
    if path == folder:
        return ""
    prefix = with_slash(folder)
    return path[len(prefix) :] if path.startswith(prefix) else None


def with_slash(folder: str) -> str:
    """Return a folder's path with a slash at its end; the empty one stays empty."""
    return folder if folder in ("", "/") or folder.endswith("/") else folder + "/"


def _normal(path: str) -> str:
    """Normalize an absolute path; `normpath` leaves two slashes at its beginning."""
    return "/" + os.path.normpath(path).lstrip("/")
