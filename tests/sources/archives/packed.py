"""Archives of sample images, and the places of their members."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pigeonhole.imaging.reader import ImageReader
from pigeonhole.sources.members.archives import members
from pigeonhole.sources.reference import Location, Place
from tests.packing import pack
from tests.worker.conftest import SAMPLES, file_at

IMAGES = {file.name: file.read_bytes() for file in sorted(SAMPLES.glob("[01]*.png"))}
MAX_BYTES = 100_000


def packed(folder: Path, kind: str, **options: object) -> tuple[str, list[Place]]:
    """Create an archive of sample images; return its name and the places of its members."""
    path = pack(folder / f"x.{kind}", IMAGES.items(), **options)
    return path.name, places_of(path)


def places_of(path: Path) -> list[Place]:
    return [member.place for member in members(str(path))]


def member_at(archive: str, place: Place) -> Location:
    """Return the location of a member; a place of five numbers is in a `.zip`."""
    return Location("zip" if len(place) == 5 else "tar", archive, "::x.png", place)


def check_pixels(reader: ImageReader, archive: str, place: Place, name: str) -> None:
    """Check that a member has the pixels of a sample."""
    samples = replace(reader, root=str(SAMPLES))
    np.testing.assert_array_equal(reader.pixels(member_at(archive, place)), samples.pixels(file_at(name)))
