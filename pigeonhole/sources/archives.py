"""Archives as sources: nothing is unpacked, and a member's name is nothing but a name that is shown.

The producer lists each member with its place in the archive, so a worker goes straight to it.
"""

import gzip
import os
import struct
import tarfile
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from itertools import product
from typing import IO, NamedTuple

from pigeonhole.errors import ErrorKind, ImageError, SourceError
from pigeonhole.limits import LONGEST_PATH
from pigeonhole.settings import Settings
from pigeonhole.sources.beneath import open_beneath
from pigeonhole.sources.folders import is_found
from pigeonhole.sources.reference import Location, Place, Reference, Root
from pigeonhole.sources.source import Opened, Source, check_regular, identity_of

#: Between an archive's path and a member's name.
INSIDE = "::"
#: The endings of archives of kinds that are not read.
_OTHERS = (".7z", ".rar", *(f".{tar}{end}" for tar, end in product(("tar.", "t"), ("bz2", "xz", "zst", "lzma", "lz4"))))
#: Where a system's offsets in files end.
_END = 1 << 63
#: What tarfile, zipfile and the modules that they are built on raise where bytes are not what they should be.
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error, EOFError),
    *(ValueError, OverflowError, NotImplementedError, RecursionError, IndexError),
)

#: Reads a number of bytes from an offset on; fewer at the end.
Reads = Callable[[int, int], bytes]


class Member(NamedTuple):
    """A file in an archive, or a link. `size` is what it takes there, in bytes, as far as that is known."""

    name: str
    size: int
    place: Place


class Archive(Source):
    """Archives of one format; see `Source`. A worker keeps the last archive open until `close`."""

    def __init__(self, root: Root, max_bytes: int = Settings.max_bytes) -> None:
        super().__init__(root, max_bytes)
        self._path = ""
        self._handle = -1

    @classmethod
    @abstractmethod
    def contents(cls, file: IO[bytes]) -> Iterator[Member]:
        """Stream the regular files in an archive, in its order, and its links, in which a worker finds no image.

        Raises:
            BROKEN, OSError: it is damaged, or can't be read.
        """

    @abstractmethod
    def read(self, handle: int, place: Place) -> bytes:
        """Read one member from an open archive, and never more than `max_bytes`.

        Raises:
            ImageError: it can't be, with the reason.
            ValueError, TypeError: there is no such place.
        """

    def list(self, argument: str) -> Iterator[Reference]:
        """Stream an archive's images; hidden members are left out, as in a folder."""
        root = self.root.below_or_absolute(argument)
        for name, size, place in members(argument):
            # `tar c .` writes a dot before each name; what a path upward means does not matter here.
            plain = "/".join([part for part in name.split("/") if part not in ("", ".", "..")])
            if is_found(plain):
                yield Reference(self.scheme, argument, root, f"{INSIDE}{name}", place, size)
            elif is_found(plain, is_folder=True):  # not hidden
                self.skipped.add(name)

    def open(self, location: Location) -> Opened:
        """Read a member; see `Source.open`."""
        handle = self._opened(location.root)
        # Before it is read: a change in between must show as one.
        begun, status = self.clock(), os.fstat(handle)
        try:
            data = self.read(handle, location.place)
        except (TypeError, ValueError, OverflowError) as exc:
            raise ImageError(ErrorKind.CORRUPT, f"its place in the archive is no place: {location.place}") from exc
        return Opened(data, identity_of(status, begun))

    def close(self) -> None:
        """Close the archive that is open."""
        if self._handle >= 0:
            os.close(self._handle)
        self._path, self._handle = "", -1

    def _opened(self, path: str) -> int:
        if self._handle >= 0 and self._path == path:
            return self._handle
        self.close()
        handle = open_beneath(self.root.path, path)
        try:
            check_regular(os.fstat(handle))
        except BaseException:
            os.close(handle)
            raise
        self._path, self._handle = path, handle
        return handle


def archive_kind(path: str) -> type[Archive] | None:
    """Return the kind of archive that an existing file is by its name, or None."""
    from pigeonhole.sources.registry import by_ending

    kind = by_ending(path)
    return kind if kind is not None and issubclass(kind, Archive) and os.path.isfile(path) else None


def check_kind(path: str) -> None:
    """Raise SourceError where a file is an archive of a kind that is not read, by its name."""
    if path.lower().endswith(_OTHERS) and os.path.isfile(path):
        from pigeonhole.sources.registry import endings

        *kinds, last = endings()
        raise SourceError(
            f"{path!r}: this kind of archive isn't read, and {', '.join(kinds)} and {last} are: unpack or repack it"
        )


def files_of(path: str) -> list[str]:
    """Return the files that a row's path may be about: the path itself, or the archives that exist in it."""
    archives, at = list[str](), path.find(INSIDE)
    while at >= 0:
        if archive_kind(path[:at]):
            archives.append(path[:at])
        at = path.find(INSIDE, at + 1)
    return [path, *archives] if not archives or os.path.lexists(path) else archives


def members(path: str) -> Iterator[Member]:
    """Stream the members of an archive.

    Raises:
        SourceError: it can't be read, is damaged, or holds something that can't be named or found again.
    """
    kind = archive_kind(path)
    try:
        with open(path, "rb") as file:
            for member in kind.contents(file) if kind else ():
                if len(os.fsencode(member.name)) > LONGEST_PATH:
                    raise ValueError(f"a name in it has more than {LONGEST_PATH:,} bytes")
                if not 0 <= min(member.place) <= max(member.place) < _END:
                    raise ValueError(f"{member.name!r} lies where no file has a place")
                yield member
    except BROKEN as exc:
        raise SourceError(f"the archive {path!r} is damaged, or none that can be read: {exc}; pack it anew") from exc
    except OSError as exc:
        raise SourceError(f"the archive {path!r} can't be read: {exc.strerror}") from exc


def reads(handle: int) -> Reads:
    """Return what reads from an open file."""

    def read(offset: int, size: int) -> bytes:
        parts = []
        while size and (part := os.pread(handle, size, offset)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def whole(data: bytes, size: int) -> bytes:
    """Return data that is complete; ImageError where there is less of it."""
    if len(data) < size:
        raise ImageError(ErrorKind.TRUNCATED, "the archive ends before it does: it is cut off, or was changed since")
    return data


def changed(how: str) -> ImageError:
    """Return the error of a member that is not where it was when the archive was submitted."""
    return ImageError(ErrorKind.CHANGED, f"{how}: the archive is not what it was when it was submitted")
