"""Members that are damaged, changed, too large, or have a foreign place are errors, never other images."""

import errno
import os
import stat
import tarfile
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pigeonhole.errors import ImageError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader, ReadBudget
from pigeonhole.settings import Settings
from pigeonhole.sources.members import inflated
from pigeonhole.sources.members.tar_archives import TarPlace
from pigeonhole.sources.members.zip_archives import ZipPlace
from pigeonhole.sources.reference import Location, Place
from tests import decoder_faults
from tests.messages import check_message
from tests.packing import KINDS, pack
from tests.sources.archives.packed import IMAGES, MAX_BYTES, check_pixels, member_at, packed, places_of
from tests.worker.conftest import SAMPLES, png
from worker.processing.isolation import IsolationRun


def error(reader: ImageReader, archive: str, place: Place) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        reader.pixels(member_at(archive, place))
    return caught.value.kind, caught.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_archive_has_the_error_kind_of_a_missing_file(tmp_path: Path, reader: ImageReader, kind: str) -> None:
    name, (place, *_) = packed(tmp_path, kind)
    below = replace(reader, root=str(tmp_path / "below"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).symlink_to(tmp_path / name)
    (tmp_path / "folder.zip").mkdir()
    os.mkfifo(tmp_path / "fifo.zip")
    assert error(reader, "gone.zip", place)[0] == "missing"
    assert error(reader, "folder.zip", place)[0] == "not-a-file"
    assert error(reader, "fifo.zip", place)[0] == "not-a-file"
    for outside in (name, f"../{name}", f"/{name}", "a\0.zip"):
        assert error(below, outside, place)[0] == "outside"


@pytest.mark.parametrize("kind", KINDS)
def test_the_complete_members_of_a_truncated_archive_are_read(tmp_path: Path, reader: ImageReader, kind: str) -> None:
    name, places = packed(tmp_path, kind)
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2)
    kinds = []
    for place, image in zip(places, IMAGES, strict=True):
        try:
            check_pixels(reader, name, place, image)
            kinds.append("read")
        except ImageError as exc:
            kinds.append(exc.kind)
    assert kinds == sorted(kinds)
    assert set(kinds) == {"read", "truncated"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_replaced_archive_never_yields_one_image_for_another(tmp_path: Path, reader: ImageReader, kind: str) -> None:
    # All images have the same size, so that the places of the members stay the same.
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
    errors = [error(reader, path.name, place) for place in places[4:]]
    assert {kind for kind, _ in errors} <= {"changed", "corrupt"}
    assert all("changed" in message for _, message in errors)


def test_an_archive_that_is_rewritten_while_it_is_inflated_is_an_error(
    tmp_path: Path, reader: ImageReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, places = packed(tmp_path, "tar.gz")
    reader.pixels(member_at(name, places[0]))
    original_read = inflated.Inflated.read

    def changing(*arguments: object) -> bytes:
        os.utime(tmp_path / name)
        return original_read(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(inflated.Inflated, "read", changing)
        assert error(reader, name, places[1])[0] == "changed"
    check_pixels(reader, name, places[1], list(IMAGES)[1])


def test_members_after_the_damage_of_a_deflated_tar_are_errors_at_once(
    tmp_path: Path, reader: ImageReader, read_sizes: list[int]
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
    assert sum(read_sizes) <= len(data) + 2 * len(places)


def with_header(path: Path, at: int, value: bytes) -> None:
    """Change a zip's first local header."""
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)


def test_an_unreadable_member_of_a_zip_has_its_error_kind(tmp_path: Path, reader: ImageReader) -> None:
    path = tmp_path / "x.zip"
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        pack(path, [("a.png", png())], compression=compression)
        kind, message = error(reader, "x.zip", places_of(path)[0])
        assert kind == "unsupported"
        check_message(message, f"method {compression}", "stored and deflated")
        reader.close()
    pack(path, [("a.png", png())])
    (place,) = places_of(path)
    with_header(path, 6, b"\1")
    kind, message = error(reader, "x.zip", place)
    assert kind == "unsupported"
    check_message(message, "encrypted", "without a password")
    with_header(path, 6, b"\0")
    with_header(path, 40, b"\xff\xff\xff")
    assert error(reader, "x.zip", place)[0] == "corrupt"
    with_header(path, 0, b"PK\1\2")
    assert error(reader, "x.zip", place)[0] == "changed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_over_the_size_limit_is_not_read(
    tmp_path: Path, reader: ImageReader, read_sizes: list[int], kind: str
) -> None:
    path = pack(tmp_path / f"x.{kind}", [("a.png", bytes(MAX_BYTES + 1))])
    (place,) = places_of(path)
    read_sizes.clear()
    error_kind, message = error(reader, path.name, place)
    assert error_kind == "too-large"
    check_message(message, "100,001 bytes", "PIGEONHOLE_MAX_BYTES is 100,000")
    assert read_sizes == []


def test_a_compression_bomb_inflates_only_to_its_declared_size(tmp_path: Path, reader: ImageReader) -> None:
    path = pack(tmp_path / "x.zip", [("a.png", bytes(50_000_000))])
    (place,) = places_of(path)
    assert isinstance(place, ZipPlace)
    assert place.stored < MAX_BYTES
    tracemalloc.start()
    try:
        kind, _ = error(reader, "x.zip", place._replace(size=1000, check=zlib.crc32(bytes(1000))))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert kind == "corrupt"
    assert error(reader, "x.zip", place._replace(stored=MAX_BYTES + 1, size=1))[0] == "too-large"


numbers = st.integers(0, 2**63 - 1) | st.integers(0, 70_000)


@hypothesis(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    scheme=st.sampled_from(["zip", "tar"]),
    place=st.lists(numbers, min_size=3, max_size=3) | st.lists(numbers, min_size=5, max_size=5) | st.lists(numbers),
    right=st.sets(st.integers(0, 4)),
)
def test_a_foreign_place_is_an_error_or_an_existing_image(
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
    member_place = ZipPlace(*place) if scheme == "zip" else TarPlace(*place)
    assert len(data) == member_place.size <= MAX_BYTES
    if isinstance(member_place, ZipPlace):
        assert zlib.crc32(data) == member_place.check


@pytest.mark.parametrize("kind", KINDS)
def test_a_transient_read_error_is_retried_with_the_archive_opened_again(
    tmp_path: Path, reader: ImageReader, opened: list[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    name, places = packed(tmp_path, kind)
    at_once = replace(reader, budget=ReadBudget(sleep=lambda seconds: None))
    check_pixels(at_once, name, places[0], next(iter(IMAGES)))
    fails = [errno.ESTALE, errno.EIO]
    original_read = os.pread

    def pread(handle: int, size: int, offset: int) -> bytes:
        if fails:
            raise OSError(fails.pop(), "transient")
        return original_read(handle, size, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", pread)
        check_pixels(at_once, name, places[0], next(iter(IMAGES)))
    assert len(opened) == 3, "once at first, and again after each error"


def test_a_quarantined_member_gets_an_isolation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = SAMPLES / "003b50.png"
    images = [("good.png", original.read_bytes()), ("bad.png", decoder_faults.image(original, "signal=SIGSEGV"))]
    path = pack(tmp_path / "x.tar.gz", images)
    good, bad = places_of(path)
    monkeypatch.setenv("PYTHONPATH", decoder_faults.install(tmp_path))
    reader = ImageReader(str(tmp_path), Preprocessing("digit", 28, 28, 1), 10**6, 10**6)
    isolation_run = IsolationRun(reader, 30, Settings())
    assert isolation_run.verdict(member_at("x.tar.gz", good)) is None
    verdict = isolation_run.verdict(member_at("x.tar.gz", bad))
    assert verdict is not None
    assert verdict[0] == "crashed"
    assert "SIGSEGV" in verdict[1]


def test_a_link_in_an_archive_is_an_error_with_the_remedy(tmp_path: Path, reader: ImageReader) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, linktype in (("hard.png", tarfile.LNKTYPE), ("soft.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = linktype, "a.png"
            tar.addfile(info)
    for place in places_of(tmp_path / "x.tar"):
        kind, message = error(reader, "x.tar", place)
        assert kind == "not-a-file"
        check_message(message, "`tar --dereference --hard-dereference`")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        entry = zipfile.ZipInfo("soft.png")
        entry.external_attr = stat.S_IFLNK << 16
        archive.writestr(entry, "a.png")
    (place,) = places_of(tmp_path / "x.zip")
    assert error(reader, "x.zip", place)[0] == "not-an-image"
