"""The thumbnails of files and of members of archives."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from pigeonhole.imaging.preprocess import Decoded
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Location
from producer.report.thumbnails import SIDE, Thumbnails
from tests.packing import KINDS, pack


def test_thumbnails_are_small_and_unreadable_files_have_an_error_kind(tmp_path: Path) -> None:
    Image.new("RGB", (900, 300), "teal").save(tmp_path / "wide.jpg")
    Image.new("L", (28, 28), 255).save(tmp_path / "digit.png")
    Image.new("1", (3000, 3000)).save(tmp_path / "bomb.png")
    os.mkfifo(tmp_path / "pipe.png")
    paths = ["wide.jpg", str(tmp_path / "digit.png"), "bomb.png", "pipe.png", "gone.png"]
    found = dict(Thumbnails(str(tmp_path), Settings(max_pixels=1_000_000)).make(paths))
    thumbnails = [found[position] for position in range(len(paths))]
    sizes = [Image.open(io.BytesIO(one)).size for one in thumbnails if isinstance(one, bytes)]
    assert sizes == [(SIDE, 53), (28, 28)]
    assert [one.partition(":")[0] for one in thumbnails if isinstance(one, str)] == [
        "too-large",
        "not-a-file",
        "missing",
    ]


def test_an_image_that_breaks_the_decoder_costs_only_its_own_thumbnail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("breaks.png", "holds.png"):
        Image.new("L", (28, 28)).save(tmp_path / name)
    decoded = ImageReader.decoded

    def breaking(self: ImageReader, location: Location) -> Decoded:
        if (location.root + location.path).endswith("breaks.png"):
            raise ValueError("unexpected")
        return decoded(self, location)

    monkeypatch.setattr(ImageReader, "decoded", breaking)
    found = dict(Thumbnails(str(tmp_path), Settings()).make(["breaks.png", "holds.png"]))
    assert found[0] == "internal: ValueError: unexpected"
    assert isinstance(found[1], bytes)


@pytest.mark.parametrize("kind", KINDS)
def test_members_of_archives_have_thumbnails_too(kind: str, tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "digit.png")
    data = (tmp_path / "digit.png").read_bytes()
    pack(tmp_path / f"a.{kind}", [("b/1.png", data), ("2.png", b"no image"), ("caf\u00e9.png", data)])
    (tmp_path / f"broken.{kind}").write_bytes(b"PK no archive")
    names = ["b/1.png", "2.png", "caf\u00e9.png", "gone.png"]
    paths = ["digit.png", *(f"a.{kind}::{name}" for name in names), f"broken.{kind}::x.png"]
    found = dict(Thumbnails(str(tmp_path), Settings()).make(paths))
    thumbnails = [found[position] for position in range(len(paths))]
    assert [one.partition(":")[0] if isinstance(one, str) else "" for one in thumbnails] == [
        *("", "", "not-an-image", "", "missing", "unreadable")
    ]


@pytest.mark.filterwarnings("ignore:Duplicate name")  # Python warns, but writes the duplicate
@pytest.mark.parametrize("kind", KINDS)
def test_members_that_share_a_name_have_no_thumbnail(kind: str, tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "digit.png")
    data = (tmp_path / "digit.png").read_bytes()
    pack(tmp_path / f"a.{kind}", [("two.png", data), ("one.png", data), ("two.png", data)])
    paths = [f"a.{kind}::{name}" for name in ("two.png", "one.png", "two.png", "one.png")]
    for some in (paths, paths[2:]):  # all rows, and only one row of each name
        found = dict(Thumbnails(str(tmp_path), Settings()).make(some))
        for position, path in enumerate(some):
            if path.endswith("two.png"):
                assert str(found[position]).startswith("ambiguous: 2 ")
            else:
                assert isinstance(found[position], bytes)
