"""A gzip file read forward: each worker process inflates an archive once, and not once a batch."""

import os
import zlib
from typing import IO

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.sources.reference import Identity

#: Bytes that are inflated at once on the way to a place.
_STEP = 1 << 18


def is_gzip(file: IO[bytes]) -> bool:
    """Return whether a file is gzip by its first bytes: a `.tar.gz` inflated on its way here often keeps its name."""
    magic = file.read(2)
    file.seek(0)
    return magic == b"\x1f\x8b"


class Inflated:
    """The bytes that one gzip file inflates to.

    Args:
        identity: of the file; all that is inflated must come of the same. None: of no file.

    Attributes:
        at: how far it is inflated, in bytes of what comes out.
    """

    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity
        self.at = 0
        self._offset = 0
        self._input = b""
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)  # with gzip's header and checksum
        self._damage = ""

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return bytes from a place on that is not behind us; fewer at the end.

        Raises:
            ImageError: what comes before them, or they, can't be inflated, and so nothing after them.
            OSError: reading the file failed; what was inflated of these bytes is lost.
        """
        while self.at < offset and self._next(handle, min(_STEP, offset - self.at)):
            pass
        parts, left = [], size
        while left and (part := self._next(handle, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _next(self, handle: int, most: int) -> bytes:
        """Return what comes next; nothing at the end."""
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
