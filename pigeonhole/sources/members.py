"""The members of archives, read where they lie: nothing is unpacked, and no archive looked through.

A reference says where its member lies (`pigeonhole.sources.spans`), and comes from Redis: what is read there is checked
before it is believed. One that is not what it should be, since the archive is damaged or has been changed meanwhile,
is an error row.
"""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.sources.beneath import open_beneath
from pigeonhole.sources.spans import Span, TarSpan, ZipSpan

#: Of a member's header in a `.zip`: signature, flags, method, and how long name and extra field are that follow it.
_LOCAL = struct.Struct("<4s2xHH16xHH")
_SIGNATURE = b"PK\3\4"
_ENCRYPTED = 0x1
#: Of a header in a `.tar`, and what all in it is a multiple of.
_BLOCK = 512
#: Where a header says of what type its member is, and those of links, hard and symbolic.
_TYPE, _LINKS = 156, b"12"
_GZIP = b"\x1f\x8b"
#: Bytes that are inflated at once on the way to a member.
_STEP = 1 << 18

#: Gives so many bytes from a place on; fewer where there are no more.
_Reads = Callable[[int, int], bytes]


class _Open(NamedTuple):
    """The archive that is open: by which path, its handle, and whether it is deflated as a whole."""

    root: str
    path: str
    handle: int
    gzip: bool


class Archives:
    """What one process has open of archives: the last one, until `close`, and how far it has inflated a `.tar.gz`."""

    def __init__(self) -> None:
        self._open: _Open | None = None
        self._inflated: _Inflated | None = None

    def read(self, root: str, path: str, span: Span, max_bytes: int) -> bytes:
        """Read a member; never more than `max_bytes`, whatever it inflates to.

        Args:
            root, path: of the archive, see `open_beneath`.
            span: where the member lies in it.
            max_bytes: a larger one is refused.

        Raises:
            ImageError: it can't be, with the reason.
            LeadsOutside, OSError: the archive can't be opened or read.
        """
        if (size := max(span.size, span.stored if isinstance(span, ZipSpan) else 0)) > max_bytes:
            raise too_large(size, max_bytes)
        archive = self._opened(root, path)
        if isinstance(span, ZipSpan):
            return _unzipped(archive.handle, span)
        return _untarred(self._inflating(archive.handle) if archive.gzip else _reads(archive.handle), span)

    def close(self) -> None:
        """Close the archive that is open. How far a `.tar.gz` is inflated is not forgotten."""
        if self._open is not None:
            os.close(self._open.handle)
        self._open = None

    def _opened(self, root: str, path: str) -> _Open:
        if self._open is not None and (self._open.root, self._open.path) == (root, path):
            return self._open
        self.close()
        handle = open_beneath(root, path)
        try:
            check_regular(os.fstat(handle))
            self._open = _Open(root, path, handle, os.pread(handle, 2, 0) == _GZIP)
        except BaseException:
            os.close(handle)
            raise
        return self._open

    def _inflating(self, handle: int) -> _Reads:
        def read(offset: int, size: int) -> bytes:
            identity = _identity(handle)
            if self._inflated is None or self._inflated.identity != identity or self._inflated.at > offset:
                self._inflated = _Inflated(identity)
            data = self._inflated.read(handle, offset, size)
            if _identity(handle) != identity:
                raise _changed("it was changed while it was read")
            return data

        return read


class _Inflated:
    """What a gzip file inflates to, read forward only: each process inflates an archive once, and not once a batch.

    Args:
        identity: of the file; what is inflated further must come of the same.

    Attributes:
        at: how far it is, in bytes of what is inflated.
    """

    def __init__(self, identity: tuple[int, ...]) -> None:
        self.identity = identity
        self.at = 0
        self._offset = 0
        self._input = b""
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)  # with gzip's header and checksum
        self._damage = ""

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Give so many bytes from a place on that is not behind us; fewer at the end.

        Raises:
            ImageError: what comes before them, or they, can't be inflated. Then all the rest can't be.
            OSError: reading the file failed; what was inflated of these is lost.
        """
        while self.at < offset and self._next(handle, min(_STEP, offset - self.at)):
            pass
        parts, left = [], size
        while left and (part := self._next(handle, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _next(self, handle: int, most: int) -> bytes:
        """Give what comes next; nothing at the end."""
        if self._damage:
            raise ImageError(ErrorKind.CORRUPT, self._damage)
        while True:
            if self._inflater.eof:  # one stream may follow another: pigz, bgzip and `cat` make such
                self._input = self._inflater.unused_data.lstrip(b"\0")  # some are padded
                self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
            if not self._input:
                self._input = os.pread(handle, _STEP, self._offset)
                self._offset += len(self._input)
            try:
                data = self._inflater.decompress(self._input, most)
            except zlib.error as exc:
                self._damage = f"the archive can't be inflated from {self.at:,} bytes on: {exc}"
                raise ImageError(ErrorKind.CORRUPT, self._damage) from exc
            ended = not self._input
            self._input = self._inflater.unconsumed_tail
            self.at += len(data)
            if data or (ended and not self._inflater.eof):
                return data


def _unzipped(handle: int, span: ZipSpan) -> bytes:
    read = _reads(handle)
    header = _whole(read(span.offset, _LOCAL.size), _LOCAL.size)
    signature, flags, method, name, extra = _LOCAL.unpack(header)
    if signature != _SIGNATURE or method != span.method:
        raise _changed("where it lay in the archive is something else")
    if flags & _ENCRYPTED:
        raise ImageError(ErrorKind.UNSUPPORTED, "it is encrypted; unpack it, or pack it without a password")
    if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ImageError(
            ErrorKind.UNSUPPORTED, f"it is compressed by method {method}, and only stored and deflated members are read"
        )
    data = _whole(read(span.offset + len(header) + name + extra, span.stored), span.stored)
    if method == zipfile.ZIP_DEFLATED:
        try:
            # One byte more than it should have, and a bomb goes no further.
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, span.size + 1)
        except zlib.error as exc:
            raise ImageError(ErrorKind.CORRUPT, f"it can't be inflated: {exc}; the archive is damaged") from exc
    if len(data) != span.size or zlib.crc32(data) != span.check:
        raise ImageError(
            ErrorKind.CORRUPT, "its size or checksum is wrong: the archive is damaged, or was changed since"
        )
    return data


def _untarred(read: _Reads, span: TarSpan) -> bytes:
    header = _whole(read(max(0, span.offset - _BLOCK), _BLOCK), _BLOCK)
    if zlib.crc32(header) != span.check:
        raise _changed("where it lay in the archive is something else")
    if header[_TYPE] in _LINKS:
        raise ImageError(ErrorKind.NOT_A_FILE, "it is a link in the archive, and leads to no file there")
    return _whole(read(span.offset, span.size), span.size)


def _reads(handle: int) -> _Reads:
    def read(offset: int, size: int) -> bytes:
        parts = []
        while size and (part := os.pread(handle, size, offset)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise ImageError(ErrorKind.TRUNCATED, "the archive ends before it does: it is cut off, or was changed since")
    return data


def _identity(handle: int) -> tuple[int, ...]:
    status = os.fstat(handle)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _changed(how: str) -> ImageError:
    return ImageError(ErrorKind.CHANGED, f"{how}: the archive is not what it was when it was submitted")


def check_regular(status: os.stat_result) -> None:
    """Raise ImageError where something is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ImageError(ErrorKind.NOT_A_FILE, f"it is {kind}")


def too_large(size: int, max_bytes: int) -> ImageError:
    """Say that an image has more bytes than we read."""
    return ImageError(ErrorKind.TOO_LARGE, f"{size:,} bytes, and PIGEONHOLE_MAX_BYTES is {max_bytes:,}")
