"""Image files → pictures small enough to embed, by the reader and within the limits that workers have."""

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from PIL import Image

from training.preprocess import Decoded, Preprocessing
from worker.contract.errors import ImageUnreadable
from worker.contract.settings import Settings
from worker.images import ImageReader

#: Pixels of a picture's longer side.
SIDE = 160
#: At this and under, every pixel counts, and lossless takes no more room.
_SMALL = 64
#: Images that are decoded at once; each may take the room of `max_pixels`.
_THREADS = 4
#: And that are read before the first of them is taken.
_AT_ONCE = 64


class Thumbnails:
    """Makes thumbnails; whatever an image file is or does, it costs no more than it would cost a worker.

    Args:
        folder: where relative paths begin.
        settings: with the limits on bytes and pixels.
    """

    def __init__(self, folder: str, settings: Settings) -> None:
        self._folder = os.path.abspath(folder)
        # What the user can read may be read, as embedded workers may; "stretch" says how far a JPEG may be shrunk.
        form = Preprocessing("stretch", SIDE, SIDE, 3)
        self._reader = ImageReader("/", form, settings.max_bytes, settings.max_pixels)

    def make(self, paths: Sequence[str]) -> Iterator[tuple[int, bytes | str]]:
        """Give for each path its position and a WebP file's bytes, or why there is none."""
        left = iter(enumerate(paths))
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            while some := list(islice(left, _AT_ONCE)):
                positions, files = zip(*some, strict=True)
                yield from zip(positions, pool.map(self._one, files), strict=True)

    def _one(self, path: str) -> bytes | str:
        try:
            return small(self._reader.decoded(os.path.join(self._folder, path).lstrip("/")))
        except ImageUnreadable as exc:
            return str(exc)


def small(decoded: Decoded) -> bytes:
    """Give a decoded image as a small WebP file."""
    image = decoded if isinstance(decoded, Image.Image) else Image.fromarray(decoded)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=max(image.size) <= _SMALL, quality=80)
    return file.getvalue()
