"""Makes thumbnails of image files, with the same reader and limits as workers."""

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from PIL import Image

from pigeonhole.errors import ImageError, SourceError
from pigeonhole.imaging.preprocess import Decoded
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.settings import Settings
from pigeonhole.sources.local_files import LocalFiles
from pigeonhole.sources.members.archives import INSIDE, archive_kind, files_of, members
from pigeonhole.sources.reference import Location, Place

#: Pixels of a thumbnail's longer side.
SIDE = 160
#: Pixels of the longer side up to which a thumbnail is lossless, which is no larger then.
_SMALL = 64
#: The most images that are decoded at once; each may need the memory of `max_pixels`.
_THREADS = 4
#: The number of images that are submitted to the threads at once.
_AT_ONCE = 64


class Thumbnails:
    """Makes thumbnails, within the limits of workers on bytes and pixels.

    Args:
        folder: the folder that relative paths start from.
        settings: the settings with these limits.
    """

    def __init__(self, folder: str, settings: Settings) -> None:
        self._folder = os.path.abspath(folder)
        # As an embedded worker, it may read any file of the user. With "stretch", a JPEG is decoded at reduced size.
        form = Preprocessing("stretch", SIDE, SIDE, 3)
        self._reader = ImageReader("/", form, settings.max_bytes, settings.max_pixels)

    def make(self, paths: Sequence[str]) -> Iterator[tuple[int, bytes | str]]:
        """Yield the position of each path with its thumbnail as WebP, or the reason for its absence; in any order."""
        alone, archives = list[tuple[int, str]](), dict[str, dict[str, list[int]]]()
        for position, path in enumerate(paths):
            path = os.path.join(self._folder, path)
            found, *_ = files_of(path)  # the path itself, or its archive
            if found == path:
                alone.append((position, path))
            else:
                archives.setdefault(found, {}).setdefault(path[len(found + INSIDE) :], []).append(position)
        yield from self._files(iter(alone))
        for archive, wanted in archives.items():
            yield from self._members(archive, wanted)

    def _files(self, files: Iterator[tuple[int, str]]) -> Iterator[tuple[int, bytes | str]]:
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            while some := list(islice(files, _AT_ONCE)):
                positions, paths = zip(*some, strict=True)
                yield from zip(positions, pool.map(self._one, paths), strict=True)

    def _members(self, archive: str, wanted: dict[str, list[int]]) -> Iterator[tuple[int, bytes | str]]:
        """Read an archive once, and yield thumbnails of its members.

        It is read to its end, because a name with several members gets no thumbnail: it could be the wrong one.

        Args:
            archive: path of the archive.
            wanted: member's name → positions.
        """
        found, why = list[tuple[str, Place]](), "missing: no such member in the archive"
        try:
            for member in members(archive):
                if member.name in wanted:
                    found.append((member.name, member.place))
        except SourceError as exc:
            why = f"unreadable: {exc}"
        times = Counter(name for name, _ in found)
        try:
            for name, place in found:
                for position in wanted.pop(name, ()):
                    several = f"ambiguous: {times[name]} members of the archive have this name"
                    yield position, self._one(archive, place) if times[name] == 1 else several
        finally:
            self._reader.close()
        yield from ((position, why) for positions in wanted.values() for position in positions)

    def _one(self, path: str, place: Place = ()) -> bytes | str:
        kind = (archive_kind(path) if place else None) or LocalFiles
        try:
            return small(self._reader.decoded(Location(kind.scheme, path.lstrip("/"), "", place)))
        except ImageError as exc:
            return str(exc)
        except Exception as exc:  # noqa: BLE001 - a decoder's failure must not affect other images
            return f"internal: {type(exc).__name__}: {exc}"


def small(decoded: Decoded) -> bytes:
    """Return a decoded image as a small WebP file."""
    image = decoded if isinstance(decoded, Image.Image) else Image.fromarray(decoded)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=max(image.size) <= _SMALL, quality=80)
    return file.getvalue()
