"""Members of archives: each is read at its place, and never confused with another."""

import errno
import gzip
import os
import stat
import struct
import tarfile
import tracemalloc
import warnings
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pigeonhole.errors import ImageError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader, ReadBudget
from pigeonhole.jobs.submit import batches
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources.beneath import open_beneath
from pigeonhole.sources.expand import expand
from pigeonhole.sources.members import archives, inflated, zip_archives
from pigeonhole.sources.members.archives import members
from pigeonhole.sources.members.tar_archives import TarPlace
from pigeonhole.sources.members.zip_archives import ZipPlace
from pigeonhole.sources.reference import Location, Place, Root
from tests import decoder_faults
from tests.packing import KINDS, pack
from tests.worker.conftest import SAMPLES, file_at, png
from worker.processing.isolation import IsolationRun
from worker.processing.pipeline import Pipeline

IMAGES = {file.name: file.read_bytes() for file in sorted(SAMPLES.glob("[01]*.png"))}
MAX_BYTES = 100_000


@pytest.fixture
def reader(tmp_path: Path) -> ImageReader:
    return ImageReader(str(tmp_path), Preprocessing("stretch", 28, 28, 1), MAX_BYTES, 1_000_000)


def packed(folder: Path, kind: str, **options: object) -> tuple[str, list[Place]]:
    """Return an archive of some samples, and the locations of these."""
    path = pack(folder / f"x.{kind}", IMAGES.items(), **options)
    return path.name, places_of(path)


def places_of(path: Path) -> list[Place]:
    return [member.place for member in members(str(path))]


def member_at(archive: str, place: Place) -> Location:
    """Return the location of a member; a place of five numbers is in a `.zip`."""
    return Location("zip" if len(place) == 5 else "tar", archive, "::x.png", place)


def error(reader: ImageReader, archive: str, place: Place) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        reader.pixels(member_at(archive, place))
    return caught.value.kind, caught.value.message


def same(reader: ImageReader, archive: str, place: Place, name: str) -> None:
    samples = replace(reader, root=str(SAMPLES))
    np.testing.assert_array_equal(reader.pixels(member_at(archive, place)), samples.pixels(file_at(name)))


@pytest.mark.parametrize(
    ("kind", "options"), [*((kind, {}) for kind in KINDS), ("zip", {"compression": zipfile.ZIP_STORED})]
)
def test_a_member_s_pixels_are_those_of_the_file(
    tmp_path: Path, reader: ImageReader, kind: str, options: dict[str, object]
) -> None:
    name, places = packed(tmp_path, kind, **options)
    for place, image in zip(places, IMAGES, strict=True):
        same(reader, name, place, image)
    for place, image in reversed(list(zip(places, IMAGES, strict=True))):
        same(reader, name, place, image)


def test_two_members_of_one_name_are_two_images(tmp_path: Path, reader: ImageReader) -> None:
    first, second = list(IMAGES.items())[:2]
    for kind in KINDS:
        with warnings.catch_warnings(action="ignore"):
            path = pack(tmp_path / f"x.{kind}", [("a.png", first[1]), ("a.png", second[1])])
        for place, image in zip(places_of(path), (first, second), strict=True):
            same(reader, path.name, place, image[0])


def test_streams_that_follow_each_other_are_one_tar(tmp_path: Path, reader: ImageReader) -> None:
    name, places = packed(tmp_path, "tar")
    data = (tmp_path / name).read_bytes()
    streams = [gzip.compress(data[at : at + 5000]) for at in range(0, len(data), 5000)]
    (tmp_path / "x.tgz").write_bytes(b"".join(streams[:3]) + bytes(100) + b"".join(streams[3:]))
    for place, image in zip(places, IMAGES, strict=True):
        same(reader, "x.tgz", place, image)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the archives that are opened."""
    paths = []

    def opening(root: str, path: str) -> int:
        paths.append(path)
        return open_beneath(root, path)

    monkeypatch.setattr(archives, "open_beneath", opening)
    return paths


@pytest.fixture
def took(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of bytes of each read."""
    sizes = []
    really = os.pread

    def pread(handle: int, size: int, offset: int) -> bytes:
        data = really(handle, size, offset)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", pread)
    return sizes


def test_a_process_inflates_an_archive_once_whatever_number_of_batches_it_is_in(
    tmp_path: Path, reader: ImageReader, opened: list[str], took: list[int]
) -> None:
    name, places = packed(tmp_path, "tar.gz")
    for batch in range(0, len(places), 5):
        for place in places[batch : batch + 5]:
            reader.pixels(member_at(name, place))
        reader.close()
    assert len(opened) == -(-len(places) // 5)
    # Also two bytes for each member, to detect gzip.
    assert sum(took) == (tmp_path / name).stat().st_size + 2 * len(places)
    took.clear()
    same(reader, name, places[0], next(iter(IMAGES)))
    assert took, "what lies behind is read anew"


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_opened_once_for_a_chunk_and_closed_after_it(
    tmp_path: Path, settings: Settings, classifier: Classifier, opened: list[str], kind: str
) -> None:
    pack(tmp_path / f"x.{kind}", IMAGES.items())
    (batch,) = batches(expand([str(tmp_path / f"x.{kind}")], Root(str(tmp_path))))
    pipeline = Pipeline(replace(settings, image_root=str(tmp_path), chunk=16), classifier)
    before = os.listdir("/proc/self/fd")
    assert not pipeline.classify(batch).errors
    assert len(opened) == -(-len(batch) // 16)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_a_batch_of_members_and_files_has_the_rows_of_the_files(
    tmp_path: Path, settings: Settings, classifier: Classifier
) -> None:
    for name, data in IMAGES.items():
        (tmp_path / name).write_bytes(data)
    for kind in KINDS:
        pack(tmp_path / f"x.{kind}", IMAGES.items())
    named = [str(tmp_path / name) for name in (*IMAGES, "x.zip", "x.tar", "x.tar.gz")]
    (batch, *others) = batches(expand(named, Root(str(tmp_path))))
    pipeline = Pipeline(replace(settings, image_root=str(tmp_path)), classifier)
    rows = [row for one in (batch, *others) for row in pipeline.classify(one).rows(one)]
    assert len(rows) == 4 * len(IMAGES)
    for at, row in enumerate(rows):
        assert row[1:] == rows[at % len(IMAGES)][1:]


def test_a_process_that_died_is_made_up_for_by_parts_that_are_read_on_their_own(
    tmp_path: Path, reader: ImageReader
) -> None:
    name, places = packed(tmp_path, "tar.gz")
    whole = Batch((Group("tar", name, name, tuple(f"::{image}" for image in IMAGES), tuple(places)),))
    half = len(places) // 2
    for start, stop in ((half, len(places)), (0, half)):  # the second half first, so that the first lies behind
        part = Batch.decode(whole.part(start, stop).encode())
        for location, image in zip(part.located(), list(IMAGES)[start:stop], strict=True):
            assert location == ("tar", name, f"::{image}", places[list(IMAGES).index(image)])
            same(reader, location.root, location.place, image)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_gone_no_file_or_outside_is_told_as_a_file_is(
    tmp_path: Path, reader: ImageReader, kind: str
) -> None:
    name, (place, *_) = packed(tmp_path, kind)
    below = replace(reader, root=str(tmp_path / "below"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).symlink_to(tmp_path / name)
    (tmp_path / "folder.zip").mkdir()
    os.mkfifo(tmp_path / "fifo.zip")
    assert error(reader, "gone.zip", place)[0] == "missing"
    assert error(reader, "folder.zip", place) == ("not-a-file", "it is a folder")
    assert error(reader, "fifo.zip", place) == ("not-a-file", "it is not a regular file")
    for outside in (name, f"../{name}", f"/{name}", "a\0.zip"):
        assert error(below, outside, place)[0] == "outside"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_truncated_archive_still_holds_is_read_and_nothing_else(
    tmp_path: Path, reader: ImageReader, kind: str
) -> None:
    name, places = packed(tmp_path, kind)
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2)
    kinds = []
    for place, image in zip(places, IMAGES, strict=True):
        try:
            same(reader, name, place, image)
            kinds.append("read")
        except ImageError as exc:
            kinds.append(str(exc))
    assert kinds == sorted(kinds)
    cut_off = "truncated: the archive ends within it: it is cut off, or was changed since"
    assert set(kinds) == {"read", cut_off}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_was_exchanged_never_gives_one_image_for_another(
    tmp_path: Path, reader: ImageReader, kind: str
) -> None:
    # All of the same size, so that members lie where others were.
    stored = {"compression": zipfile.ZIP_STORED} if kind == "zip" else {}
    pictures = [data for height in range(20, 60) if len(data := png((28, height))) == 79]
    images = [(f"{at}.png", data) for at, data in enumerate(pictures[:8])]
    assert len(images) == 8
    path = pack(tmp_path / f"x.{kind}", images, **stored)
    places = places_of(path)
    assert reader.pixels(member_at(path.name, places[0])).shape == (28, 28, 1)
    pack(tmp_path / f"y.{kind}", [*images[:4], *reversed(images[4:])], **stored).rename(path)
    reader.close()
    for place in places[:4]:
        reader.pixels(member_at(path.name, place))
    said = [error(reader, path.name, place) for place in places[4:]]
    assert {kind for kind, _ in said} <= {"changed", "corrupt"}
    assert all("changed since" in message or "was changed after" in message for _, message in said)


def test_an_archive_that_is_rewritten_while_it_is_inflated_is_told(
    tmp_path: Path, reader: ImageReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, places = packed(tmp_path, "tar.gz")
    reader.pixels(member_at(name, places[0]))
    really = inflated.Inflated.read

    def changing(*arguments: object) -> bytes:
        os.utime(tmp_path / name)
        return really(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(inflated.Inflated, "read", changing)
        kind, message = error(reader, name, places[1])
    assert kind == "changed"
    assert message.startswith("it was changed while it was read: ")
    same(reader, name, places[1], list(IMAGES)[1])


def test_where_a_deflated_tar_is_damaged_all_before_it_is_read_and_the_rest_told_at_once(
    tmp_path: Path, reader: ImageReader, took: list[int]
) -> None:
    name, places = packed(tmp_path, "tar.gz", compresslevel=1)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
    (tmp_path / name).write_bytes(data)
    kinds = []
    for place in places:
        try:
            reader.pixels(member_at(name, place))
            kinds.append("read")
        except ImageError as exc:
            kinds.append(exc.kind)
    assert kinds[0] == "read"
    assert kinds[-1] in ("corrupt", "changed")
    assert sum(took) <= len(data) + 2 * len(places)


def with_header(path: Path, at: int, value: bytes) -> None:
    """Change a zip's first local header."""
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)


def test_what_can_not_be_read_in_a_zip_says_why(tmp_path: Path, reader: ImageReader) -> None:
    path = tmp_path / "x.zip"
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        pack(path, [("a.png", png())], compression=compression)
        kind, message = error(reader, "x.zip", places_of(path)[0])
        assert (kind, message) == (
            "unsupported",
            f"it is compressed by method {compression}: only stored and deflated members are supported",
        )
        reader.close()
    pack(path, [("a.png", png())])
    (place,) = places_of(path)
    with_header(path, 6, b"\1")
    assert error(reader, "x.zip", place) == (
        "unsupported",
        "it is encrypted; unpack it, or pack it without a password",
    )
    with_header(path, 6, b"\0")
    with_header(path, 40, b"\xff\xff\xff")
    assert error(reader, "x.zip", place)[0] == "corrupt"
    with_header(path, 0, b"PK\1\2")
    assert error(reader, "x.zip", place)[0] == "changed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_larger_than_a_file_may_be_is_not_read(
    tmp_path: Path, reader: ImageReader, took: list[int], kind: str
) -> None:
    path = pack(tmp_path / f"x.{kind}", [("a.png", bytes(MAX_BYTES + 1))])
    (place,) = places_of(path)
    took.clear()
    assert error(reader, path.name, place) == ("too-large", "100,001 bytes, and PIGEONHOLE_MAX_BYTES is 100,000")
    assert took == []


def test_a_bomb_inflates_no_further_than_it_says(tmp_path: Path, reader: ImageReader) -> None:
    path = pack(tmp_path / "x.zip", [("a.png", bytes(50_000_000))])
    (place,) = places_of(path)
    assert isinstance(place, ZipPlace)
    assert place.stored < MAX_BYTES
    tracemalloc.start()
    try:
        said = error(reader, "x.zip", place._replace(size=1000, check=zlib.crc32(bytes(1000))))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert said == ("corrupt", "its size or checksum is wrong: the archive is damaged, or was changed since")
    assert error(reader, "x.zip", place._replace(stored=MAX_BYTES + 1, size=1))[0] == "too-large"


numbers = st.integers(0, 2**63 - 1) | st.integers(0, 70_000)


@hypothesis(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    scheme=st.sampled_from(["zip", "tar"]),
    place=st.lists(numbers, min_size=3, max_size=3) | st.lists(numbers, min_size=5, max_size=5) | st.lists(numbers),
    right=st.sets(st.integers(0, 4)),
)
def test_a_place_that_a_stranger_wrote_is_an_error_row_or_an_image_that_is_there(
    tmp_path: Path, reader: ImageReader, kind: str, scheme: str, place: list[int], right: set[int]
) -> None:
    path = tmp_path / f"x.{kind}"
    if not path.exists():
        pack(path, IMAGES.items())
    found = places_of(path)[1]
    if len(found) == len(place):
        place = [found[at] if at in right else number for at, number in enumerate(place)]
    location = Location(scheme, path.name, "::x.png", tuple(place))
    try:
        data = reader.read(location).data
    except ImageError:
        with pytest.raises(ImageError):
            reader.pixels(location)
        return
    there = ZipPlace(*place) if scheme == "zip" else TarPlace(*place)
    assert len(data) == there.size <= MAX_BYTES
    if isinstance(there, ZipPlace):
        assert zlib.crc32(data) == there.check


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_that_fails_in_passing_is_tried_again_with_the_archive_opened_anew(
    tmp_path: Path, reader: ImageReader, opened: list[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    name, places = packed(tmp_path, kind)
    at_once = replace(reader, budget=ReadBudget(sleep=lambda seconds: None))
    same(at_once, name, places[0], next(iter(IMAGES)))
    fails = [errno.ESTALE, errno.EIO]
    really = os.pread

    def pread(handle: int, size: int, offset: int) -> bytes:
        if fails:
            raise OSError(fails.pop(), "in passing")
        return really(handle, size, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", pread)
        same(at_once, name, places[0], next(iter(IMAGES)))
    assert len(opened) == 3, "for the first, and anew after each failure"


def test_a_suspect_in_an_archive_is_tried_on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = SAMPLES / "003b50.png"
    images = [("good.png", original.read_bytes()), ("bad.png", decoder_faults.image(original, "signal=SIGSEGV"))]
    path = pack(tmp_path / "x.tar.gz", images)
    good, bad = places_of(path)
    monkeypatch.setenv("PYTHONPATH", decoder_faults.install(tmp_path))
    reader = ImageReader(str(tmp_path), Preprocessing("digit", 28, 28, 1), 10**6, 10**6)
    trial = IsolationRun(reader, 30, Settings())
    assert trial.verdict(member_at("x.tar.gz", good)) is None
    assert trial.verdict(member_at("x.tar.gz", bad)) == (
        "crashed",
        "reading it ends the process (SIGSEGV)",
    )


def test_a_local_header_is_read_as_the_format_has_it() -> None:
    fields = struct.pack("<4sHHHHHLLLHH", b"PK\3\4", 20, 1, 8, 0, 0, 0, 0, 0, 5, 7)
    assert zip_archives._LOCAL.unpack(fields) == (b"PK\3\4", 1, 8, 5, 7)


def test_a_link_in_an_archive_is_told_to_be_none_of_its_images(tmp_path: Path, reader: ImageReader) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, linktype in (("hard.png", tarfile.LNKTYPE), ("soft.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = linktype, "a.png"
            tar.addfile(info)
    for place in places_of(tmp_path / "x.tar"):
        assert error(reader, "x.tar", place) == (
            "not-a-file",
            "it is a link in the archive: pack it with `tar --dereference --hard-dereference`",
        )
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        entry = zipfile.ZipInfo("soft.png")
        entry.external_attr = stat.S_IFLNK << 16
        archive.writestr(entry, "a.png")
    (place,) = places_of(tmp_path / "x.zip")
    assert error(reader, "x.zip", place)[0] == "not-an-image"
