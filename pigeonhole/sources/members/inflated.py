"""Read a gzip file forward, so that a worker process inflates an archive once and not for each batch."""

import os
import zlib
from typing import IO

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.sources.reference import Identity

#: The number of bytes that are inflated at once while skipping.
_STEP = 1 << 18


def is_gzip(file: IO[bytes]) -> bool:
    """Return whether a file is gzip by its first bytes: a download may be inflated and still end with `.tar.gz`."""
    magic = file.read(2)
    file.seek(0)
    return magic == b"\x1f\x8b"


class Inflated:
    """The inflated bytes of one gzip file.

    Args:
        identity: the identity of the file; a changed file needs a new object. None: no file yet.

    Attributes:
        at: the number of bytes that are inflated so far.
    """

    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity
        self.at = 0
        self._offset = 0
        self._input = b""
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)  # with gzip's header and checksum
        self._damage = ""

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return `size` inflated bytes from an offset, which is not below `at`; fewer at the end.

        Raises:
            ImageError: the file can't be inflated up to the end of these bytes.
            OSError: reading the file failed; bytes that were inflated in this call are lost.
        """
        while self.at < offset and self._next(handle, min(_STEP, offset - self.at)):
            pass
        parts, left = [], size
        while left and (part := self._next(handle, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _next(self, handle: int, most: int) -> bytes:
        """Return the next inflated bytes; none at the end."""
        if self._damage:
            raise ImageError(ErrorKind.CORRUPT, self._damage)
        while True:
            if self._inflater.eof:  # another stream may follow, as pigz, bgzip and `cat` write them
                self._input = self._inflater.unused_data.lstrip(b"\0")  # streams may be padded
                self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
            if not self._input:
                self._input = os.pread(handle, _STEP, self._offset)
                self._offset += len(self._input)
            try:
                data = self._inflater.decompress(self._input, most)
            except zlib.error as exc:
                self._damage = f"the archive is damaged after {self.at:,} inflated bytes: {exc}"
                raise ImageError(ErrorKind.CORRUPT, self._damage) from exc
            ended = not self._input
            self._input = self._inflater.unconsumed_tail
            self.at += len(data)
            if data or (ended and not self._inflater.eof):
                return data
