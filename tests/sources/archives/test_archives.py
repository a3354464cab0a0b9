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
from tests.messages import check_message
from tests.packing import KINDS, pack
from tests.sources.conftest import pairs, shown, touch

A, B = b"the bytes of an image", b"and of another one, which compresses: " + bytes(1000)
IMAGES = (("a.png", A), ("sub/b.JPG", B))


def refused(*sources: str) -> str:
    with pytest.raises(SourceError) as error:
        list(expand(sources, Root("/")))
    return str(error.value)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "X.ZIP"])
def test_each_image_of_an_archive_is_listed_with_its_name(folder: Path, name: str) -> None:
    pack(folder / name.lower(), IMAGES).rename(folder / name)
    assert pairs(expand([f"./{name}"], Root(str(folder)))) == [
        (f"./{name}::a.png", f"{name}::a.png"),
        (f"./{name}::sub/b.JPG", f"{name}::sub/b.JPG"),
    ]


def test_the_place_of_a_member_is_the_offset_of_its_bytes(folder: Path) -> None:
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


def test_members_have_their_size_in_the_archive(folder: Path) -> None:
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


def test_members_are_selected_by_the_rules_of_folders(folder: Path) -> None:
    names = ["a.png", "b.txt", ".c.png", "d/.e/f.png", "__MACOSX/._a.png", "d/g.gif", "png", "Thumbs.db", "h.zip"]
    for kind in KINDS:
        pack(folder / f"x.{kind}", [(name, A) for name in names])
        assert shown(f"x.{kind}") == [f"x.{kind}::a.png", f"x.{kind}::d/g.gif"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_name_with_a_path_outside_is_only_a_name(folder: Path, kind: str) -> None:
    names = ["./a.png", "../../b.png", "/etc/c.png", "d/../e.png", "f::g.zip::h.png"]
    pack(folder / f"x.{kind}", [(name, A) for name in names])
    assert shown(f"x.{kind}") == [f"x.{kind}::{name}" for name in names]
    assert {reference.root for reference in expand([f"x.{kind}"], Root(str(folder)))} == {f"x.{kind}"}


def test_members_that_are_no_regular_files_are_left_out(folder: Path) -> None:
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
def test_links_in_a_tar_are_listed_in_order_with_their_own_places(folder: Path, kind: str) -> None:
    with tarfile.open(f"x.{kind}", "w:gz" if kind == "tar.gz" else "w") as tar:
        for name, linktype in (("a.png", b"0"), ("hard.png", b"1"), ("soft.png", b"2"), ("b.png", b"0")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = linktype, "a.png", len(A) if linktype == b"0" else 0
            tar.addfile(info, io.BytesIO(A))
    assert shown(f"x.{kind}") == [f"x.{kind}::{name}" for name in ("a.png", "hard.png", "soft.png", "b.png")]
    assert len({member.place for member in members(f"x.{kind}")}) == 4


def test_links_in_a_zip_are_listed_in_order_with_their_own_places(folder: Path) -> None:
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("d/a.png", A)
        for name, target in (("l.png", "d/a.png"), ("n.png", "no.png")):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = stat.S_IFLNK << 16
            archive.writestr(entry, target)
    assert shown("x.zip") == ["x.zip::d/a.png", "x.zip::l.png", "x.zip::n.png"]
    assert len({member.place for member in members("x.zip")}) == 3


def test_member_names_that_are_not_utf_8_keep_their_bytes(folder: Path) -> None:
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
def test_a_long_member_name_in_a_tar_is_complete(folder: Path, format: int) -> None:
    name = f"{'long/' * 40}a.png"
    pack(folder / "x.tar", [(name, A), ("b.png", B)], format=format)
    assert [(member.name, member.size) for member in members("x.tar")] == [(name, len(A)), ("b.png", len(B))]
    for member in members("x.tar"):
        assert (folder / "x.tar").read_bytes()[TarPlace(*member.place).offset :].startswith((A, B))


@pytest.mark.parametrize("kind", KINDS)
def test_members_with_the_same_name_are_separate_images(folder: Path, kind: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        pack(folder / f"x.{kind}", [("a.png", A), ("a.png", B)])
    first, second = expand([f"x.{kind}"], Root("/"))
    assert first[:4] == second[:4]
    assert first.place != second.place


def test_an_archive_is_read_if_it_is_a_source_a_match_or_listed_but_not_in_a_folder(folder: Path) -> None:
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


def test_an_archive_of_several_sources_is_listed_once(folder: Path) -> None:
    pack(folder / "x.zip", IMAGES)
    touch("y.png")
    inside = ["x.zip::a.png", "x.zip::sub/b.JPG"]
    assert shown("x.zip", "./x.zip", "*") == [*inside, "y.png"]
    assert shown("*.zip", "x.*", "x.zip") == inside
    assert shown("x.z*", "*") == [*inside, "y.png"]


def test_the_first_bytes_of_a_file_decide_whether_a_tar_is_inflated(folder: Path) -> None:
    pack(folder / "x.tar", IMAGES)
    data = (folder / "x.tar").read_bytes()
    (folder / "inflated.tar.gz").write_bytes(data)
    (folder / "deflated.tar").write_bytes(gzip.compress(data))
    two_streams = gzip.compress(data[:700]) + gzip.compress(data[700:])
    (folder / "two.tgz").write_bytes(two_streams)
    expected = list(members("x.tar"))
    for name in ("inflated.tar.gz", "deflated.tar", "two.tgz"):
        assert list(members(name)) == expected


def test_an_archive_without_an_image_is_refused(folder: Path) -> None:
    for kind in KINDS:
        pack(folder / f"x.{kind}", [("notes.txt", b"")])
        check_message(refused(f"x.{kind}"), f"'x.{kind}'", "no image", " png ")
        pack(folder / f"x.{kind}", [])
        check_message(refused(f"x.{kind}"), f"'x.{kind}'", "no image", " png ")
    check_message(refused("x.*"), "'x.*'", "no image")


@pytest.mark.parametrize("name", ["x.tar.bz2", "x.tar.xz", "x.TXZ", "x.7z", "x.rar"])
def test_an_unsupported_kind_of_archive_is_refused_with_the_supported_ones(folder: Path, name: str) -> None:
    touch(name)
    check_message(refused(name), repr(name), "unpack it", ".zip, .tar, .tar.gz or .tgz")


def damaged_archives() -> dict[str, bytes]:
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
        "negative.tar": with_checksum(tar[:512], {124: b"\xff" * 12}) + tar[512:],
        "header-without-end.tar": with_checksum(tar[:512], {156: b"L", 124: b"77777777777\0"}) + tar[512:],
        "sparse.tar": with_checksum(bytes(sparse), {}) + bytes(10240),
    }


def with_checksum(header: bytes, changes: dict[int, bytes]) -> bytes:
    """Change a tar header and correct its checksum."""
    new = bytearray(header)
    for at, value in changes.items():
        new[at : at + len(value)] = value
    new[148:156] = b" " * 8
    new[148:156] = b"%06o\0 " % sum(new)
    return bytes(new)


def test_a_damaged_archive_is_refused_by_its_name(folder: Path) -> None:
    for name, data in damaged_archives().items():
        (folder / name).write_bytes(data)
        check_message(refused(name), f"the archive {name!r} ", "Create it again")
    check_message(refused("sparse.tar"), "'a.png'", "`tar --sparse`")
    (folder / "list").write_text("text.zip\n")
    check_message(refused("*.zip"), "the archive 'empty.zip' ")
    check_message(refused("@list"), "the archive 'text.zip' ")


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_with_random_damage_is_read_or_refused(folder: Path, kind: str) -> None:
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


def test_an_unreadable_archive_is_refused(folder: Path) -> None:
    pack(folder / "x.zip", IMAGES)
    with pytest.raises(SourceError, match=r"'gone.zip'.*: No such file or directory$"):
        list(members("gone.zip"))


def test_a_tar_of_many_members_takes_bounded_memory(folder: Path) -> None:
    block = tarfile.TarInfo("a.png").tobuf()
    (folder / "x.tar").write_bytes(block * 5000 + bytes(1024))
    tracemalloc.start()
    try:
        assert sum(1 for _ in members("x.tar")) == 5000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_files_of_a_path_are_the_file_or_its_archive(folder: Path) -> None:
    pack(folder / "x.zip", IMAGES)
    touch("a::b.png", "x.zip::a.png", "y.zip::z.png", "no::x.txt")
    assert files_of("a.png") == ["a.png"]
    assert files_of("a::b.png") == ["a::b.png"]
    assert files_of("x.zip::sub/b.JPG") == ["x.zip"]
    assert files_of("x.zip::c::d.png") == ["x.zip"]
    assert files_of("x.zip::a.png") == ["x.zip::a.png", "x.zip"], "the path can be a file or a member"
    assert files_of("y.zip::z.png") == ["y.zip::z.png"]
    assert files_of("gone.zip::z.png") == ["gone.zip::z.png"]
    assert files_of("x.zip::a\0.png") == ["x.zip"]


def test_a_list_separated_by_nul_can_name_archives(folder: Path) -> None:
    pack(folder / "x.tgz", IMAGES)
    (folder / "list").write_bytes(b"x.tgz\0a.png\0")
    assert shown("@list", null_separated=True) == ["x.tgz::a.png", "x.tgz::sub/b.JPG", "a.png"]
