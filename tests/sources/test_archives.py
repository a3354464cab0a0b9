"""Archives as SOURCEs: their images, the places of these, and damaged archives."""

import gzip
import io
import os
import random
import stat
import tarfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest

from pigeonhole.errors import SourceError
from pigeonhole.jobs.submit import batches
from pigeonhole.ledger.wire.messages import Batch
from pigeonhole.sources.expand import expand
from pigeonhole.sources.members.archives import files_of, members
from pigeonhole.sources.members.tar_archives import TarPlace
from pigeonhole.sources.members.zip_archives import ZipPlace
from pigeonhole.sources.reference import Root
from tests.packing import KINDS, pack
from tests.sources.conftest import pairs, shown, touch

A, B = b"the bytes of an image", b"and of another one, which compresses: " + bytes(1000)
IMAGES = (("a.png", A), ("sub/b.JPG", B))


def refused(*sources: str) -> str:
    with pytest.raises(SourceError) as error:
        list(expand(sources, Root("/")))
    return str(error.value)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "X.ZIP"])
def test_an_archive_gives_its_images_each_with_its_name(folder: Path, name: str) -> None:
    pack(folder / name.lower(), IMAGES).rename(folder / name)
    assert pairs(expand([f"./{name}"], Root(str(folder)))) == [
        (f"./{name}::a.png", f"{name}::a.png"),
        (f"./{name}::sub/b.JPG", f"{name}::sub/b.JPG"),
    ]


def test_a_member_s_place_is_where_its_bytes_are(folder: Path) -> None:
    for kind in KINDS:
        pack(folder / f"x.{kind}", IMAGES)
    (_, tar), (_, inflated), (_, zipped) = (
        [reference.place for reference in expand([f"x.{kind}"], Root("/"))] for kind in ("tar", "tar.gz", "zip")
    )
    assert isinstance(tar, TarPlace)
    assert (folder / "x.tar").read_bytes()[tar.offset :][: tar.size] == B
    assert inflated == tar
    assert isinstance(zipped, ZipPlace)
    assert zipped.size == len(B) > zipped.stored
    assert (folder / "x.zip").read_bytes()[zipped.offset :].startswith(b"PK\3\4")


def test_batches_are_cut_by_the_bytes_that_members_take_in_the_archive(folder: Path) -> None:
    for kind in KINDS:
        pack(folder / f"x.{kind}", IMAGES)
    sizes = {kind: [reference.size for reference in expand([f"x.{kind}"], Root("/"))] for kind in KINDS}
    assert sizes["tar"] == sizes["tar.gz"] == [len(A), len(B)]
    assert sizes["zip"][1] < 100


def test_an_archive_is_one_group_of_a_batch(folder: Path) -> None:
    pack(folder / "x.zip", IMAGES)
    pack(folder / "y.tar", IMAGES)
    touch("a.png", "b.png")
    (batch,) = batches(expand(["a.png", "x.zip", "y.tar", "b.png"], Root(str(folder))))
    assert [(group.root, len(group.paths), len(group.places)) for group in batch.groups] == [
        ("", 1, 0),
        ("x.zip", 2, 2),
        ("y.tar", 2, 2),
        ("", 1, 0),
    ]
    assert Batch.decode(batch.encode()) == batch


def test_members_are_images_by_the_rules_of_folders(folder: Path) -> None:
    named = ["a.png", "b.txt", ".c.png", "d/.e/f.png", "__MACOSX/._a.png", "d/g.gif", "png", "Thumbs.db", "h.zip"]
    for kind in KINDS:
        pack(folder / f"x.{kind}", [(name, A) for name in named])
        assert shown(f"x.{kind}") == [f"x.{kind}::a.png", f"x.{kind}::d/g.gif"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_leads_elsewhere_is_only_a_name(folder: Path, kind: str) -> None:
    named = ["./a.png", "../../b.png", "/etc/c.png", "d/../e.png", "f::g.zip::h.png"]
    pack(folder / f"x.{kind}", [(name, A) for name in named])
    assert shown(f"x.{kind}") == [f"x.{kind}::{name}" for name in named]
    assert {reference.root for reference in expand([f"x.{kind}"], Root(str(folder)))} == {f"x.{kind}"}


def test_what_is_no_regular_file_in_an_archive_is_left_out(folder: Path) -> None:
    with tarfile.open("x.tar", "w") as tar:
        for kind in (tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"{ord(kind)}.png")
            info.type = kind
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("a.png"))
    with zipfile.ZipFile("x.zip", "w") as archive:
        for mode in (stat.S_IFDIR, stat.S_IFCHR, stat.S_IFREG, 0):
            entry = zipfile.ZipInfo(f"{mode}.png")
            entry.external_attr = mode << 16
            archive.writestr(entry, "a.png")
        archive.writestr("folder.png/", "")
    assert shown("x.tar") == ["x.tar::a.png"]
    assert shown("x.zip") == [f"x.zip::{stat.S_IFREG}.png", "x.zip::0.png"]


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_links_in_a_tar_are_listed_in_its_order_each_with_its_own_place(folder: Path, kind: str) -> None:
    with tarfile.open(f"x.{kind}", "w:gz" if kind == "tar.gz" else "w") as tar:
        for name, linktype in (("a.png", b"0"), ("hard.png", b"1"), ("soft.png", b"2"), ("b.png", b"0")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = linktype, "a.png", len(A) if linktype == b"0" else 0
            tar.addfile(info, io.BytesIO(A))
    assert shown(f"x.{kind}") == [f"x.{kind}::{name}" for name in ("a.png", "hard.png", "soft.png", "b.png")]
    assert len({member.place for member in members(f"x.{kind}")}) == 4


def test_links_in_a_zip_are_listed_in_its_order_each_with_its_own_place(folder: Path) -> None:
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("d/a.png", A)
        for name, target in (("l.png", "d/a.png"), ("n.png", "no.png")):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = stat.S_IFLNK << 16
            archive.writestr(entry, target)
    assert shown("x.zip") == ["x.zip::d/a.png", "x.zip::l.png", "x.zip::n.png"]
    assert len({member.place for member in members("x.zip")}) == 3


def test_names_are_given_byte_for_byte_where_they_are_not_utf_8(folder: Path) -> None:
    odd, plain = os.fsdecode(b"caf\xe9.png"), "größe 7 €.png"
    for kind in ("tar", "tar.gz"):
        pack(folder / f"x.{kind}", [(odd, A), (plain, A)])
        assert shown(f"x.{kind}") == [f"x.{kind}::{odd}", f"x.{kind}::{plain}"]
    # Old programs do not record the encoding of a name.
    pack(folder / "x.zip", [("caf?.png", A), ("gr??e.png", A), (plain, A)])
    data = (folder / "x.zip").read_bytes().replace(b"caf?.png", b"caf\xe9.png")
    (folder / "x.zip").write_bytes(data.replace(b"gr??e.png", "grüe.png".encode()))
    assert shown("x.zip") == [f"x.zip::{odd}", "x.zip::grüe.png", f"x.zip::{plain}"]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_a_long_name_in_a_tar_is_given_whole(folder: Path, format: int) -> None:
    name = f"{'long/' * 40}a.png"
    pack(folder / "x.tar", [(name, A), ("b.png", B)], format=format)
    assert [(member.name, member.size) for member in members("x.tar")] == [(name, len(A)), ("b.png", len(B))]
    for member in members("x.tar"):
        assert (folder / "x.tar").read_bytes()[TarPlace(*member.place).offset :].startswith((A, B))


@pytest.mark.parametrize("kind", KINDS)
def test_members_of_one_name_are_an_image_each(folder: Path, kind: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        pack(folder / f"x.{kind}", [("a.png", A), ("a.png", B)])
    first, second = expand([f"x.{kind}"], Root("/"))
    assert first[:4] == second[:4]
    assert first.place != second.place


def test_an_archive_is_taken_where_it_is_named_matched_or_listed_and_not_by_a_walk(folder: Path) -> None:
    (folder / "in").mkdir()
    pack(folder / "in" / "x.zip", IMAGES)
    touch("in/c.png", "in/notes")
    inside = ["in/x.zip::a.png", "in/x.zip::sub/b.JPG"]
    assert shown("in") == ["in/c.png"]
    assert shown("in/*.zip") == inside
    assert shown("in", "in/x.zip") == ["in/c.png", *inside]
    (folder / "list").write_text("in/x.zip\nin/c.png\nin/gone.zip\nin/x.zip\n")
    assert shown("@list") == [*inside, "in/c.png", "in/gone.zip", *inside]
    (folder / "in.zip").mkdir()
    touch("in.zip/d.png")
    assert shown("in.zip") == ["in.zip/d.png"]


def test_an_archive_that_several_sources_name_is_taken_once(folder: Path) -> None:
    pack(folder / "x.zip", IMAGES)
    touch("y.png")
    inside = ["x.zip::a.png", "x.zip::sub/b.JPG"]
    assert shown("x.zip", "./x.zip", "*") == [*inside, "y.png"]
    assert shown("*.zip", "x.*", "x.zip") == inside
    assert shown("x.z*", "*") == [*inside, "y.png"]


def test_what_begins_a_file_decides_whether_a_tar_is_inflated(folder: Path) -> None:
    pack(folder / "x.tar", IMAGES)
    data = (folder / "x.tar").read_bytes()
    (folder / "inflated.tar.gz").write_bytes(data)
    (folder / "deflated.tar").write_bytes(gzip.compress(data))
    two_streams = gzip.compress(data[:700]) + gzip.compress(data[700:])
    (folder / "two.tgz").write_bytes(two_streams)
    there = list(members("x.tar"))
    for name in ("inflated.tar.gz", "deflated.tar", "two.tgz"):
        assert list(members(name)) == there


def test_an_archive_without_an_image_is_told(folder: Path) -> None:
    for kind in KINDS:
        pack(folder / f"x.{kind}", [("notes.txt", b"")])
        assert refused(f"x.{kind}").startswith(f"'x.{kind}' holds no image; the known extensions are ")
        pack(folder / f"x.{kind}", [])
        assert refused(f"x.{kind}").startswith(f"'x.{kind}' holds no image; the known extensions are ")
    assert refused("x.*") == "'x.*' matches no image"


@pytest.mark.parametrize("name", ["x.tar.bz2", "x.tar.xz", "x.TXZ", "x.7z", "x.rar"])
def test_an_archive_of_a_kind_that_is_not_read_is_told_and_which_are(folder: Path, name: str) -> None:
    touch(name)
    assert refused(name) == (
        f"{name!r}: this kind of archive is not supported: unpack it, or repack it as .zip, .tar, .tar.gz or .tgz"
    )


def broken() -> dict[str, bytes]:
    """Return damaged archives: name → bytes."""
    folder = Path()
    tar, zipped = (pack(folder / f"sound.{kind}", IMAGES).read_bytes() for kind in ("tar", "zip"))
    deflated = gzip.compress(tar, mtime=0)
    pack(folder / "sound.tar", [(f"{'x' * 4096}.png", A)])
    damaged = bytearray(tar)
    damaged[1024 + 150] ^= 1  # in the checksum of the second member's header
    sparse = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    sparse[156:157] = tarfile.GNUTYPE_SPARSE
    return {
        "empty.zip": b"",
        "empty.tar": b"",
        "text.zip": b"this is no archive\n" * 100,
        "text.tar": b"this is no archive\n" * 100,
        "text.tar.gz": b"\x1f\x8b this is no archive\n" * 100,
        "folders-end.zip": zipped[:-30],
        "member.tar": tar[:1400],
        "header.tar": tar[:1300],
        "no-end.tar": tar[: 1024 + 512 + 1536],
        "damaged.tar": bytes(damaged),
        "cut.tar.gz": deflated[: len(deflated) // 2],
        "checksum.tar.gz": deflated[:-8] + bytes(8),
        "long.tar": (folder / "sound.tar").read_bytes(),
        "negative.tar": summed(tar[:512], {124: b"\xff" * 12}) + tar[512:],
        "header-without-end.tar": summed(tar[:512], {156: b"L", 124: b"77777777777\0"}) + tar[512:],
        "sparse.tar": summed(bytes(sparse), {}) + bytes(10240),
    }


def summed(header: bytes, changes: dict[int, bytes]) -> bytes:
    """Change a tar header and correct its checksum."""
    new = bytearray(header)
    for at, value in changes.items():
        new[at : at + len(value)] = value
    new[148:156] = b" " * 8
    new[148:156] = b"%06o\0 " % sum(new)
    return bytes(new)


def test_a_damaged_archive_is_told_by_its_name_and_never_read_in_part_in_silence(folder: Path) -> None:
    for name, data in broken().items():
        (folder / name).write_bytes(data)
        said = refused(name)
        assert said.startswith(f"the archive {name!r} "), name
    assert refused("sparse.tar") == (
        "the archive 'sparse.tar' is damaged or not supported: 'a.png' is stored with holes, as "
        "`tar --sparse` does. Create it again"
    )
    assert "File is not a zip file. Create it again" in refused("text.zip")
    assert "Unknown compression method. Create it again" in refused("text.tar.gz")
    (folder / "list").write_text("text.zip\n")
    assert refused("*.zip").startswith("the archive 'empty.zip' ")
    assert refused("@list").startswith("the archive 'text.zip' ")


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_bytes_are_wrong_an_archive_is_read_or_refused(folder: Path, kind: str) -> None:
    sound = pack(folder / f"x.{kind}", [(f"{'d/' * 60}{at}.png", A) for at in range(4)]).read_bytes()
    chance = random.Random(6)
    for _ in range(300):
        data = bytearray(sound[: chance.choice([len(sound), chance.randrange(len(sound))])] or b"\0")
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(len(data))] = chance.choice([0, 255, ord("7"), chance.randrange(256)])
        (folder / f"x.{kind}").write_bytes(data)
        try:
            found = list(expand([f"x.{kind}"], Root("/")))
        except SourceError:
            continue
        for batch in batches(found):
            assert Batch.decode(batch.encode()) == batch


def test_an_archive_that_can_not_be_read_is_told(folder: Path) -> None:
    pack(folder / "x.zip", IMAGES)
    with pytest.raises(SourceError, match=r"^the archive 'gone.zip' can't be read: No such file or directory$"):
        list(members("gone.zip"))


def test_a_tar_of_many_members_takes_no_memory_for_them(folder: Path) -> None:
    block = tarfile.TarInfo("a.png").tobuf()
    (folder / "x.tar").write_bytes(block * 5000 + bytes(1024))
    tracemalloc.start()
    try:
        assert sum(1 for _ in members("x.tar")) == 5000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_row_s_path_is_about_a_file_or_an_archive(folder: Path) -> None:
    pack(folder / "x.zip", IMAGES)
    touch("a::b.png", "x.zip::a.png", "y.zip::z.png", "no::x.txt")
    assert files_of("a.png") == ["a.png"]
    assert files_of("a::b.png") == ["a::b.png"]
    assert files_of("x.zip::sub/b.JPG") == ["x.zip"]
    assert files_of("x.zip::c::d.png") == ["x.zip"]
    assert files_of("x.zip::a.png") == ["x.zip::a.png", "x.zip"], "it may be either"
    assert files_of("y.zip::z.png") == ["y.zip::z.png"]
    assert files_of("gone.zip::z.png") == ["gone.zip::z.png"]
    assert files_of("x.zip::a\0.png") == ["x.zip"]


def test_a_list_separated_by_nul_may_name_archives(folder: Path) -> None:
    pack(folder / "x.tgz", IMAGES)
    (folder / "list").write_bytes(b"x.tgz\0a.png\0")
    assert shown("@list", null_separated=True) == ["x.tgz::a.png", "x.tgz::sub/b.JPG", "a.png"]
