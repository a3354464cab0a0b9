"""References to images, which the producer creates and the worker opens."""

import os
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pigeonhole.errors import SourceError

#: The place of an image in an archive: integers from 0 to below 2**63, whose meaning its source defines.
Place: TypeAlias = tuple[int, ...]

#: A 64-bit hash of a file's size, times and inode, to detect whether the file has changed since it was read.
Identity: TypeAlias = int


class Location(NamedTuple):
    """The location at which a worker finds one image.

    Args:
        scheme: the scheme of the source that opens it: `file`, `zip`, `tar`, …
        root: the beginning of a file's path below the image root, or the whole path of an archive.
        path: the rest of a file's path; for an archive's member, `::` and its name.
        place: the place in the archive `root`; empty: it is a file.
    """

    scheme: str
    root: str
    path: str
    place: Place = ()

    @property
    def file(self) -> str:
        """The path below the image root of the image file, or of the archive that contains the image."""
        return self.root if self.place else self.root + self.path


class Reference(NamedTuple):
    """One image, as the producer lists it. Its path for the user is `shown + path`.

    Args:
        scheme, root, path, place: its `Location`.
        shown: the beginning of its path as the user named it.
        size: the size of its file in bytes, or an estimate, which limits the size of batches.
    """

    scheme: str
    shown: str
    root: str
    path: str
    place: Place = ()
    size: int = 0

    @property
    def file(self) -> str:
        """The image file, or the archive that contains the image, as the user named it."""
        return self.shown if self.place else self.shown + self.path


@dataclass(frozen=True)
class Root:
    """An image root: the folder to which references are relative.

    Args:
        path: the absolute path of the folder; `/` contains all files.
    """

    path: str

    def below(self, path: str) -> str | None:
        """Return a path relative to the root, or None if it lies outside.

        Links are resolved only if the path does not lie inside without that.

        Raises:
            SourceError: the working folder was deleted.
        """
        try:
            absolute = os.path.join(os.getcwd(), path)
        except FileNotFoundError as exc:
            raise SourceError("the working folder was deleted: change to another") from exc
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
        """Return a path relative to the root; if it lies outside, its absolute path, which workers refuse."""
        inside = self.below(path)
        return os.path.abspath(path) if inside is None else inside


def relative(path: str, folder: str) -> str | None:
    """Return a path relative to a folder (empty: the folder itself), or None if it is not inside."""
    if path == folder:
        return ""
    prefix = with_slash(folder)
    return path[len(prefix) :] if path.startswith(prefix) else None


def with_slash(folder: str) -> str:
    """Return a folder's path with a slash at its end; an empty path stays empty."""
    return folder if folder in ("", "/") or folder.endswith("/") else folder + "/"


def _normal(path: str) -> str:
    """Normalize an absolute path, with one slash at its beginning, where `normpath` may leave two."""
    return "/" + os.path.normpath(path).lstrip("/")
