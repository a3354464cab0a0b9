"""Members of archives: each is read at its place, and an archive is opened and inflated once."""

import gzip
import os
import struct
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.imaging.reader import ImageReader
from pigeonhole.jobs.submit import batches
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.members import zip_archives
from pigeonhole.sources.reference import Root
from tests.packing import KINDS, pack
from tests.sources.archives.packed import IMAGES, check_pixels, member_at, packed, places_of
from worker.processing.pipeline import Pipeline


@pytest.mark.parametrize(
    ("kind", "options"), [*((kind, {}) for kind in KINDS), ("zip", {"compression": zipfile.ZIP_STORED})]
)
def test_a_member_has_the_pixels_of_its_file(
    tmp_path: Path, reader: ImageReader, kind: str, options: dict[str, object]
) -> None:
    name, places = packed(tmp_path, kind, **options)
    for place, image in zip(places, IMAGES, strict=True):
        check_pixels(reader, name, place, image)
    for place, image in reversed(list(zip(places, IMAGES, strict=True))):
        check_pixels(reader, name, place, image)


def test_two_members_with_the_same_name_have_their_own_pixels(tmp_path: Path, reader: ImageReader) -> None:
    first, second = list(IMAGES.items())[:2]
    for kind in KINDS:
        with warnings.catch_warnings(action="ignore"):
            path = pack(tmp_path / f"x.{kind}", [("a.png", first[1]), ("a.png", second[1])])
        for place, image in zip(places_of(path), (first, second), strict=True):
            check_pixels(reader, path.name, place, image[0])


def test_concatenated_gzip_streams_are_one_tar(tmp_path: Path, reader: ImageReader) -> None:
    name, places = packed(tmp_path, "tar")
    data = (tmp_path / name).read_bytes()
    streams = [gzip.compress(data[at : at + 5000]) for at in range(0, len(data), 5000)]
    (tmp_path / "x.tgz").write_bytes(b"".join(streams[:3]) + bytes(100) + b"".join(streams[3:]))
    for place, image in zip(places, IMAGES, strict=True):
        check_pixels(reader, "x.tgz", place, image)


def test_a_process_inflates_an_archive_once_for_all_its_batches(
    tmp_path: Path, reader: ImageReader, opened: list[str], read_sizes: list[int]
) -> None:
    name, places = packed(tmp_path, "tar.gz")
    for batch in range(0, len(places), 5):
        for place in places[batch : batch + 5]:
            reader.pixels(member_at(name, place))
        reader.close()
    assert len(opened) == -(-len(places) // 5)
    # Also two bytes for each member, to detect gzip.
    assert sum(read_sizes) == (tmp_path / name).stat().st_size + 2 * len(places)
    read_sizes.clear()
    check_pixels(reader, name, places[0], next(iter(IMAGES)))
    assert read_sizes, "earlier members are read again"


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_opened_once_for_each_chunk_and_closed_after_it(
    tmp_path: Path, settings: Settings, classifier: Classifier, opened: list[str], kind: str
) -> None:
    pack(tmp_path / f"x.{kind}", IMAGES.items())
    (batch,) = batches(expand([str(tmp_path / f"x.{kind}")], Root(str(tmp_path))))
    pipeline = Pipeline(replace(settings, image_root=str(tmp_path), chunk=16), classifier)
    before = os.listdir("/proc/self/fd")
    assert not pipeline.classify(batch).errors
    assert len(opened) == -(-len(batch) // 16)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_members_have_the_rows_of_their_files(tmp_path: Path, settings: Settings, classifier: Classifier) -> None:
    for name, data in IMAGES.items():
        (tmp_path / name).write_bytes(data)
    for kind in KINDS:
        pack(tmp_path / f"x.{kind}", IMAGES.items())
    sources = [str(tmp_path / name) for name in (*IMAGES, "x.zip", "x.tar", "x.tar.gz")]
    (batch, *others) = batches(expand(sources, Root(str(tmp_path))))
    pipeline = Pipeline(replace(settings, image_root=str(tmp_path)), classifier)
    rows = [row for one in (batch, *others) for row in pipeline.classify(one).rows(one)]
    assert len(rows) == 4 * len(IMAGES)
    for at, row in enumerate(rows):
        assert row[1:] == rows[at % len(IMAGES)][1:]


def test_each_part_of_a_batch_can_be_read_on_its_own(tmp_path: Path, reader: ImageReader) -> None:
    name, places = packed(tmp_path, "tar.gz")
    whole = Batch((Group("tar", name, name, tuple(f"::{image}" for image in IMAGES), tuple(places)),))
    half = len(places) // 2
    for start, stop in ((half, len(places)), (0, half)):  # the second half first
        part = Batch.decode(whole.part(start, stop).encode())
        for location, image in zip(part.located(), list(IMAGES)[start:stop], strict=True):
            assert location == ("tar", name, f"::{image}", places[list(IMAGES).index(image)])
            check_pixels(reader, location.root, location.place, image)


def test_a_local_header_of_a_zip_has_the_fields_of_the_format() -> None:
    fields = struct.pack("<4sHHHHHLLLHH", b"PK\3\4", 20, 1, 8, 0, 0, 0, 0, 0, 5, 7)
    assert zip_archives._LOCAL.unpack(fields) == (b"PK\3\4", 1, 8, 5, 7)
