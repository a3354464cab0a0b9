"""The source of `.tar` and `.tar.gz` files. To list a `.tar`, only headers are read; a `.tar.gz` must be inflated."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple, Self

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.settings import Settings
from pigeonhole.sources.members.archives import Archive, Member, Reader, changed, reader, whole
from pigeonhole.sources.members.inflated import Inflated, is_gzip
from pigeonhole.sources.reference import Identity, Place, Root
from pigeonhole.sources.source import check_size, identity_of

#: The block size of the format in bytes, which is also the size of a header.
_BLOCK = 512
#: The offset of a member's type in its header, and the types of hard and symbolic links.
_TYPE, _LINKS = 156, b"12"
#: The largest extended header, for instance with a long name, in bytes: tarfile reads it into memory.
_LONGEST_HEADER = 1 << 20
_BEFORE_ANOTHER = frozenset({b"x", b"g", b"X", b"L", b"K"})
#: The number of bytes that are read at once.
_STEP = 1 << 16


class TarPlace(NamedTuple):
    """The place of a member in a `.tar` or `.tar.gz`.

    Args:
        offset: the offset of its bytes in the file, or in the inflated file.
        size: the number of its bytes.
        check: the CRC-32 of its header, the block before its bytes; the format has no checksum of the bytes.
    """

    offset: int
    size: int
    check: int


class TarArchives(Archive):
    """A source of images in `.tar` and `.tar.gz` files; see `Archive`. `close` keeps the state of inflation."""

    scheme = "tar"
    endings = (".tar", ".tar.gz", ".tgz")

    def __init__(self, root: Root, max_bytes: int = Settings.max_bytes) -> None:
        super().__init__(root, max_bytes)
        self._inflated = Inflated()

    @classmethod
    def contents(cls, file: IO[bytes]) -> Iterator[Member]:
        """Yield the regular files and links, in the archive's order; see `Archive.contents`."""
        inflated = gzip.GzipFile(fileobj=file) if is_gzip(file) else file
        with tarfile.open(
            fileobj=inflated, mode="r:", tarinfo=_Info, encoding="utf-8", errors="surrogateescape"
        ) as archive:
            for info in _headers(archive):
                if info.issparse():
                    raise ValueError(f"{info.name!r} is stored with holes, as `tar --sparse` does")
                if info.size < 0:
                    raise ValueError(f"{info.name!r} has {info.size:,} bytes")
                if info.isreg() or info.islnk() or info.issym():
                    place = TarPlace(info.offset_data, info.size, info.check)
                    yield Member(info.name, info.size, place)
            while inflated.read(_STEP):  # up to the end of the file, so that gzip checks its checksum
                pass

    def read(self, handle: int, place: Place) -> bytes:
        """Read one member; see `Archive.read`."""
        there = TarPlace(*place)
        check_size(there.size, self.max_bytes)
        read = self._inflating(handle) if os.pread(handle, 2, 0) == b"\x1f\x8b" else reader(handle)
        header = whole(read(max(0, there.offset - _BLOCK), _BLOCK), _BLOCK)
        if zlib.crc32(header) != there.check:
            raise changed("the bytes at its place in the archive are not its own")
        if header[_TYPE] in _LINKS:
            raise ImageError(
                ErrorKind.NOT_A_FILE, "it is a link in the archive: pack it with `tar --dereference --hard-dereference`"
            )
        return whole(read(there.offset, there.size), there.size)

    def _inflating(self, handle: int) -> Reader:
        def identity() -> Identity:
            return identity_of(os.fstat(handle))

        def read(offset: int, size: int) -> bytes:
            before = identity()
            if self._inflated.identity != before or self._inflated.at > offset:
                self._inflated = Inflated(before)
            data = self._inflated.read(handle, offset, size)
            if identity() != before:
                raise changed("it was changed while it was read")
            return data

        return read


class _Info(tarfile.TarInfo):
    """A tar member with the checksum of its header; a damaged header is an error and not the end of the archive."""

    __slots__ = ("check",)
    check: int

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
            raise
        except tarfile.HeaderError as exc:  # tarfile would treat it as the end
            raise tarfile.ReadError(f"{exc}, where another member or the archive's end should be") from exc
        if info.size < 0 or (info.type in _BEFORE_ANOTHER and info.size > _LONGEST_HEADER):
            raise tarfile.ReadError(f"a header in it says that {info.size:,} bytes follow")
        info.check = zlib.crc32(buf)
        return info


def _headers(archive: tarfile.TarFile) -> Iterator[_Info]:
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # otherwise tarfile keeps all members in memory
        assert isinstance(info, _Info)  # for the type checker
        yield info
