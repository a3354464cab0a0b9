"""The base class of archive sources.

The producer lists each member with its place in the archive, and a worker reads the bytes at that place. Nothing is
unpacked to disk, so a member's name is for display only and can't lead anywhere.
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

#: The separator between an archive's path and a member's name.
INSIDE = "::"
#: The endings of archives that are not supported.
_OTHERS = (".7z", ".rar", *(f".{tar}{end}" for tar, end in product(("tar.", "t"), ("bz2", "xz", "zst", "lzma", "lz4"))))
#: File offsets are below this number.
_END = 1 << 63
#: The exceptions that tarfile, zipfile and the modules below them raise for damaged archives.
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error, EOFError),
    *(ValueError, OverflowError, NotImplementedError, RecursionError, IndexError),
)

#: A function (offset, size) → bytes, which returns fewer bytes at the end of the file.
Reader = Callable[[int, int], bytes]


class Member(NamedTuple):
    """A file or link in an archive. `size` is its size there in bytes, or an estimate."""

    name: str
    size: int
    place: Place


class Archive(Source):
    """A source of images in archives of one format. The last archive stays open until `close`."""

    def __init__(self, root: Root, max_bytes: int = Settings.max_bytes) -> None:
        super().__init__(root, max_bytes)
        self._path = ""
        self._handle = -1

    @classmethod
    @abstractmethod
    def contents(cls, file: IO[bytes]) -> Iterator[Member]:
        """Yield the regular files and links in an archive, in its order; workers report links as errors.

        Raises:
            DAMAGE, OSError: the archive is damaged, or can't be read.
        """

    @abstractmethod
    def read(self, handle: int, place: Place) -> bytes:
        """Read one member from an open archive, at most `max_bytes`.

        Raises:
            ImageError: the member can't be read; the error has the reason.
            ValueError, TypeError: the place is invalid.
        """

    def list(self, argument: str) -> Iterator[Reference]:
        """Yield references to an archive's images; hidden members are left out, as in a folder."""
        root = self.root.below_or_absolute(argument)
        for name, size, place in members(argument):
            # `tar c .` begins each name with a dot. A `..` does no harm, since nothing is unpacked.
            plain = "/".join([part for part in name.split("/") if part not in ("", ".", "..")])
            if is_found(plain):
                yield Reference(self.scheme, argument, root, f"{INSIDE}{name}", place, size)
            elif is_found(plain, is_folder=True):  # not hidden
                self.skipped.add(name)

    def open(self, location: Location) -> Opened:
        """Read a member; see `Source.open`."""
        handle = self._opened(location.root)
        # Before reading, so that a change while reading gives another identity.
        begun, status = self.clock(), os.fstat(handle)
        try:
            data = self.read(handle, location.place)
        except (TypeError, ValueError, OverflowError) as exc:
            raise ImageError(ErrorKind.CORRUPT, f"its place in the archive is invalid: {location.place}") from exc
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
    """Return the archive source for an existing file by its name; None: it is not an archive."""
    from pigeonhole.sources.registry import by_ending

    kind = by_ending(path)
    return kind if kind is not None and issubclass(kind, Archive) and os.path.isfile(path) else None


def check_kind(path: str) -> None:
    """Raise SourceError if a file is an unsupported archive by its name."""
    if path.lower().endswith(_OTHERS) and os.path.isfile(path):
        from pigeonhole.sources.registry import endings

        *kinds, last = endings()
        raise SourceError(
            f"{path!r}: this kind of archive is not supported: unpack it, or repack it as {', '.join(kinds)} or {last}"
        )


def files_of(path: str) -> list[str]:
    """Return the files that a row's path may name: the path itself, or the existing archives in it."""
    archives, at = list[str](), path.find(INSIDE)
    while at >= 0:
        if archive_kind(path[:at]):
            archives.append(path[:at])
        at = path.find(INSIDE, at + 1)
    return [path, *archives] if not archives or os.path.lexists(path) else archives


def members(path: str) -> Iterator[Member]:
    """Yield the members of an archive.

    Raises:
        SourceError: the archive can't be read, is damaged, or has a member with an invalid name or place.
    """
    kind = archive_kind(path)
    try:
        with open(path, "rb") as file:
            for member in kind.contents(file) if kind else ():
                if len(os.fsencode(member.name)) > LONGEST_PATH:
                    raise ValueError(f"a name in it has more than {LONGEST_PATH:,} bytes")
                if not 0 <= min(member.place) <= max(member.place) < _END:
                    raise ValueError(f"{member.name!r} has an impossible offset or size")
                yield member
    except DAMAGE as exc:
        raise SourceError(f"the archive {path!r} is damaged or not supported: {exc}. Create it again") from exc
    except OSError as exc:
        raise SourceError(f"the archive {path!r} can't be read: {exc.strerror}") from exc


def reader(handle: int) -> Reader:
    """Return a function that reads from an open file."""

    def read(offset: int, size: int) -> bytes:
        parts = []
        while size and (part := os.pread(handle, size, offset)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def whole(data: bytes, size: int) -> bytes:
    """Return data; raise ImageError if it has less than `size` bytes."""
    if len(data) < size:
        raise ImageError(ErrorKind.TRUNCATED, "the archive ends within it: it is cut off, or was changed since")
    return data


def changed(how: str) -> ImageError:
    """Return the error for a member of an archive that has changed since it was submitted."""
    return ImageError(ErrorKind.CHANGED, f"{how}: the archive was changed after it was submitted")
