"""The source of images in the memory of a Python program: references contain the bytes, and no file is read."""

import base64
import binascii
import os
from collections.abc import Iterator

from pigeonhole.errors import ErrorKind, ImageError, SourceError, UsageError
from pigeonhole.limits import LONGEST_PATH
from pigeonhole.sources.reference import Identity, Location, Reference
from pigeonhole.sources.source import Opened, Source, check_size

#: The largest image in bytes: a batch of one such image in base64 is below `MAX_DECODED_BYTES`.
MOST_BYTES = 32_000_000
#: Each byte in memory counts as this many bytes of a file, so that a batch has at most 4 MB, or a single image.
_WEIGHT = 16
#: The characters of base64 in place of `+` and `/`: a root with a slash would be a path.
_SIGNS = b"-_"


class ImagesInMemory(Source):
    """A source of images whose references contain their bytes: `root` in base64, and `shown` their name."""

    scheme = "memory"

    def list(self, argument: str) -> Iterator[Reference]:
        """Raise SourceError: only a Python program can submit images in memory."""
        raise SourceError(
            f"{argument!r} names images in the memory of a Python program, and only that can submit them: "
            f"Client.submit(images, job=…). For a file of that name write './{argument}'"
        )

    def open(self, location: Location) -> Opened:
        """Return the bytes in the reference; see `Source.open`."""
        text = location.root
        check_size(len(text) // 4 * 3 - text.count("=", -2), self.max_bytes)
        try:
            return Opened(base64.b64decode(text, _SIGNS, validate=True), 0)
        except (binascii.Error, ValueError) as exc:
            raise ImageError(ErrorKind.CORRUPT, f"its reference is not valid base64: {exc}") from exc

    def identity(self, location: Location) -> Identity:
        """Return 0: there is no file."""
        return 0


def in_memory(name: str, data: bytes) -> Reference:
    """Return the reference to an image in memory.

    Args:
        name: the path that its row shows.
        data: the content of an image file.

    Raises:
        UsageError: the name is invalid, or the image is too large for a message.
    """
    try:
        spelled = os.fsencode(name)
    except UnicodeEncodeError as exc:
        raise UsageError(f"{name!r} can't name an image: it has a lone surrogate") from exc
    if not 0 < len(spelled) <= LONGEST_PATH or b"\0" in spelled:
        shown = name if len(name) < 100 else f"{name[:100]}…"
        raise UsageError(f"{shown!r} can't name an image: a name has 1 to {LONGEST_PATH:,} bytes, and no NUL")
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"{name} has {len(data):,} bytes, and an image in memory may have {MOST_BYTES:,}: write it to a file, and "
            "submit its path"
        )
    carried = base64.b64encode(data, _SIGNS).decode()
    return Reference(ImagesInMemory.scheme, name, carried, "", (), _WEIGHT * len(data))
