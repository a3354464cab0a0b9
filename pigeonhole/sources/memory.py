"""Images that a Python program has in memory: the message itself carries their bytes, and no file is read."""

import base64
import binascii
import os
from collections.abc import Iterator

from pigeonhole.errors import ErrorKind, ImageError, SourceError, UsageError
from pigeonhole.limits import LONGEST_PATH
from pigeonhole.sources.reference import Identity, Location, Reference
from pigeonhole.sources.source import Opened, Source, check_size

#: Bytes of the largest image: in base64, a batch of this one can be read back.
MOST_BYTES = 32_000_000
#: A carried byte counts for as many bytes of a file: so a batch carries at most 4 MB, or a single image.
_WEIGHT = 16
#: The two signs of base64 that are not letters or digits: a root with a slash would be a path.
_SIGNS = b"-_"


class ImagesInMemory(Source):
    """Images whose bytes are in their reference: `root` holds them in base64, and `shown` their name."""

    scheme = "memory"

    def list(self, argument: str) -> Iterator[Reference]:
        """Raise SourceError: only a program has the images."""
        raise SourceError(
            f"{argument!r} stands for images in the memory of a Python program, which alone can submit them: "
            f"Client.submit(images, job=…); a file of that name is './{argument}'"
        )

    def open(self, location: Location) -> Opened:
        """Return the bytes that the reference carries; see `Source.open`."""
        text = location.root
        check_size(len(text) // 4 * 3 - text.count("=", -2), self.max_bytes)
        try:
            return Opened(base64.b64decode(text, _SIGNS, validate=True), 0)
        except (binascii.Error, ValueError) as exc:
            raise ImageError(ErrorKind.CORRUPT, f"its message carries no base64: {exc}") from exc

    def identity(self, location: Location) -> Identity:
        """Return 0: there is no file."""
        return 0


def in_memory(name: str, data: bytes) -> Reference:
    """Return the reference to an image in memory.

    Args:
        name: what its row shows as the path.
        data: the content of an image file.

    Raises:
        UsageError: a row can't show that name, or no message can carry the image.
    """
    try:
        spelled = os.fsencode(name)
    except UnicodeEncodeError as exc:
        raise UsageError(f"{name!r} can't name an image: it holds a lone surrogate") from exc
    if not 0 < len(spelled) <= LONGEST_PATH or b"\0" in spelled:
        shown = name if len(name) < 100 else f"{name[:100]}…"
        raise UsageError(f"{shown!r} can't name an image: a name has 1 to {LONGEST_PATH:,} bytes, and no NUL")
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"{name} has {len(data):,} bytes, and an image in memory may have {MOST_BYTES:,}: write it to a file, and "
            "give its path"
        )
    carried = base64.b64encode(data, _SIGNS).decode()
    return Reference(ImagesInMemory.scheme, name, carried, "", (), _WEIGHT * len(data))
