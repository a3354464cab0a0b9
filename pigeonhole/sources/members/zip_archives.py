"""The source of `.zip` files. Python's `zipfile` keeps their list of members in memory: about 0.6 KB for each."""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.sources.members.archives import Archive, Member, changed, reader, whole
from pigeonhole.sources.reference import Place
from pigeonhole.sources.source import check_size

#: A member's local header: signature, flags, method, and the lengths of the name and the extra field behind it.
_LOCAL = struct.Struct("<4s2xHH16xHH")
_SIGNATURE = b"PK\3\4"
#: The flags of an encrypted member, and of a name in UTF-8.
_ENCRYPTED, _UTF8 = 0x1, 0x800


class ZipPlace(NamedTuple):
    """The place of a member in a `.zip`.

    Args:
        offset: the offset of its local header in the file.
        stored: its compressed size in bytes.
        size: the size of the image in bytes.
        method: the number of the compression method.
        check: the CRC-32 of the image.
    """

    offset: int
    stored: int
    size: int
    method: int
    check: int


class ZipArchives(Archive):
    """A source of images in `.zip` files; see `Archive`."""

    scheme = "zip"
    endings = (".zip",)

    @classmethod
    def contents(cls, file: IO[bytes]) -> Iterator[Member]:
        """Yield the members; see `Archive.contents`."""
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                # A link is listed as well; its few bytes are no image, so a worker reports an error.
                if _kind(info) in (0, stat.S_IFREG, stat.S_IFLNK) and not info.is_dir():
                    stored, size = info.compress_size, info.file_size
                    place = ZipPlace(info.header_offset, stored, size, info.compress_type, info.CRC)
                    yield Member(_name(info), stored, place)

    def read(self, handle: int, place: Place) -> bytes:
        """Read one member; see `Archive.read`."""
        there = ZipPlace(*place)
        check_size(max(there.size, there.stored), self.max_bytes)
        read = reader(handle)
        header = whole(read(there.offset, _LOCAL.size), _LOCAL.size)
        signature, flags, method, name, extra = _LOCAL.unpack(header)
        if signature != _SIGNATURE or method != there.method:
            raise changed("the bytes at its place in the archive are not its own")
        if flags & _ENCRYPTED:
            raise ImageError(ErrorKind.UNSUPPORTED, "it is encrypted; unpack it, or pack it without a password")
        if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ImageError(
                ErrorKind.UNSUPPORTED,
                f"it is compressed by method {method}: only stored and deflated members are supported",
            )
        data = whole(read(there.offset + len(header) + name + extra, there.stored), there.stored)
        if method == zipfile.ZIP_DEFLATED:
            data = _inflated(data, there.size)
        if len(data) != there.size or zlib.crc32(data) != there.check:
            raise ImageError(
                ErrorKind.CORRUPT, "its size or checksum is wrong: the archive is damaged, or was changed since"
            )
        return data


def _inflated(data: bytes, size: int) -> bytes:
    try:
        # At most one byte more than its size, which stops zip bombs.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as exc:
        raise ImageError(ErrorKind.CORRUPT, f"it can't be inflated: {exc}; the archive is damaged") from exc


def _kind(info: zipfile.ZipInfo) -> int:
    return stat.S_IFMT(info.external_attr >> 16)  # 0 where it was not packed on Unix


def _name(info: zipfile.ZipInfo) -> str:
    """Return a member's name; if it is not marked as UTF-8, its bytes are decoded as the system's file names are."""
    says_utf8 = info.flag_bits & _UTF8
    return info.filename if says_utf8 else os.fsdecode(info.filename.encode("cp437"))  # zipfile has decoded it so
