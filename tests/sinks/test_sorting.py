"""`--sort-into DIR`: every image in one folder, whatever happens, and nothing overwritten."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import ExitCode, OutputFailed, UsageError
from pigeonhole.ledger.messages import Row
from pigeonhole.sinks.sorting import Sorter, folder_of
from pigeonhole.sinks.unpacking import Unpacker
from pigeonhole.text import counted
from producer.options import Links
from producer.outputs import sorting
from tests.packing import KINDS, pack
from tests.sinks.test_sinks import SEVEN

pytestmark = pytest.mark.usefixtures("folder")
Means = Literal["symbolic", "hard", "copy"]
MEANS = pytest.mark.parametrize("means", ["symbolic", "hard", "copy"])


def images(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(os.fsencode(path))


def row(path: str, label: str = "7", review: bool = False, error: str = "") -> Row:
    return SEVEN._replace(path=path, label="" if error else label, review=review, error=error)


def sort(*rows: Row, means: Means = "symbolic") -> str:
    with closing(Sorter("out", means)) as sorter:
        sorter.write(rows)
        sorter.finish()
        return sorter.report()


def found() -> dict[str, str]:
    """What lies in the folder: path → the image's own, which is what stands in it."""
    files = (path for path in Path("out").rglob("*") if path.is_file() and not path.name.startswith("_"))
    return {str(path.relative_to("out")): os.fsdecode(path.read_bytes()) for path in files}


@MEANS
def test_images_get_into_the_folder_of_their_label_and_doubtful_ones_apart(means: Means) -> None:
    images("in/a.png", "in/b.png", "in/c.png")
    told = sort(
        row("in/a.png"), row("in/b.png", "4", review=True), row("in/c.png", error="truncated: of, 3"), means=means
    )
    assert found() == {"7/a.png": "in/a.png", "_review/4/b.png": "in/b.png"}
    assert Path("out/_errors.csv").read_text() == 'path,error\nin/c.png,"truncated: of, 3"\n'
    assert told == "2 images sorted into 'out'; 1 listed in 'out/_errors.csv'"
    there = Path("out/7/a.png")
    assert there.is_symlink() == (means == "symbolic")
    assert there.samefile("in/a.png") == (means != "copy")
    if means == "symbolic":
        assert there.readlink() == Path("in/a.png").absolute()
    if means == "copy":
        assert there.stat().st_mtime == Path("in/a.png").stat().st_mtime


def digest(path: str) -> str:
    return hashlib.sha256(os.fsencode(Path(path).absolute())).hexdigest()[:12]


def test_equal_names_get_a_digest_of_their_path_and_nothing_is_overwritten() -> None:
    images("a/x.png", "b/x.png", "c/y.png", "d/y.png", "out/7/x.png")
    rows = [row("a/x.png"), row("b/x.png"), row("c/y.png"), row("d/y.png")]
    expected = {
        "7/x.png": "out/7/x.png",
        f"7/x-{digest('a/x.png')}.png": "a/x.png",
        f"7/x-{digest('b/x.png')}.png": "b/x.png",
        "7/y.png": "c/y.png",
        f"7/y-{digest('d/y.png')}.png": "d/y.png",
    }
    for _ in range(2):
        sort(*rows)
        assert found() == expected


def test_an_image_whose_names_are_both_taken_is_listed() -> None:
    images("in/x.png", "out/7/x.png", f"out/7/x-{digest('in/x.png')}.png")
    sort(row("in/x.png"))
    assert 'in/x.png,"not-sorted: other files have its names' in Path("out/_errors.csv").read_text()


def test_a_name_as_long_as_names_may_be_has_room_for_its_suffix() -> None:
    long = "é" * 125 + ".png"
    images(f"a/{long}", f"b/{long}")
    sort(row(f"a/{long}"), row(f"b/{long}"))
    assert sorted(found().values()) == [f"a/{long}", f"b/{long}"]


@MEANS
def test_an_image_is_sorted_once_and_stays_where_somebody_moved_it(means: Means) -> None:
    images("in/a.png", "in/b.png", "in/c.png")
    rows = [row("in/a.png"), row("./in/../in/b.png", "1", review=True), row("in/a.png"), row("in/c.png", "2")]
    assert sort(*rows, means=means) == "3 images sorted into 'out'"
    Path("out/9").mkdir()
    Path("out/_review/1/b.png").rename("out/9/b.png")
    Path("out/2/c.png").unlink()
    changed = [row("in/a.png"), row(str(Path("in/b.png").absolute()), "3"), row("in/c.png", "3")]
    for again in (rows, changed):
        assert sort(*again, means=means) == "0 images sorted into 'out' (3 were there)"
    assert found() == {"7/a.png": "in/a.png", "9/b.png": "in/b.png"}


@MEANS
def test_an_image_whose_label_has_changed_leaves_its_folder(means: Means) -> None:
    images("in/a.png", "in/b.png")
    sort(row("in/a.png"), row("in/b.png"), means=means)
    assert sort(row("in/a.png", "3"), row("in/b.png"), means=means) == "1 image sorted into 'out' (1 were there)"
    assert found() == {"3/a.png": "in/a.png", "7/b.png": "in/b.png"}


@MEANS
def test_a_file_that_has_changed_is_never_under_its_old_label(means: Means) -> None:
    images("in/a.png", "in/b.png")
    sort(row("in/a.png"), row("in/b.png"), means=means)
    Path("in/a.png").write_bytes(b"a three")
    Path("in/b.png").write_bytes(b"no image")
    sort(row("in/a.png", "3"), row("in/b.png", error="not-an-image: no"), means=means)
    copies = {"7/a.png": "in/a.png", "7/b.png": "in/b.png"} if means == "copy" else {}
    assert found() == {"3/a.png": "a three", **copies}, "a copy has the bytes that had its label"


def test_nothing_is_sorted_before_the_rows_are_complete() -> None:
    images("in/a.png", "in/b.png")
    with closing(Sorter("out")) as sorter:
        sorter.write([row("in/a.png", "1"), row("in/b.png")])
    assert found() == {}
    sort(row("in/a.png", "3"))
    assert found() == {"3/a.png": "in/a.png"}, "only the rows of this run count"


def test_what_is_sorted_at_last_is_not_listed_any_more() -> None:
    images("in/a.png")
    sort(row("in/a.png", error="crashed: twice"), row("gone.png"))
    assert Path("out/_errors.csv").read_text() == (
        "path,error\nin/a.png,crashed: twice\ngone.png,not-here: it can't be seen from here\n"
    )
    images("gone.png")
    sort(row("in/a.png"), row("gone.png"))
    assert found() == {"7/a.png": "in/a.png", "7/gone.png": "gone.png"}
    assert not Path("out/_errors.csv").exists()


@MEANS
@pytest.mark.parametrize("kept", [0, 1, 2])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("label", ["7", "3"])
def test_a_pass_that_was_killed_is_completed_by_the_next(
    means: Means, kept: int, linked: bool, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("a/x.png", "b/x.png", "c/x.png")
    rows = [row("a/x.png"), row("b/x.png"), row("c/x.png")]
    with closing(Sorter("out", means)) as sorter:
        link = sorter._link

        def killed(origin: str, at: str) -> None:
            if len(found()) < kept:
                return link(origin, at)
            if linked:
                link(origin, at)
                if len(found()) == kept:  # another image has this place
                    return None
            raise KeyboardInterrupt

        monkeypatch.setattr(sorter, "_link", killed)
        sorter.write(rows)
        with pytest.raises(KeyboardInterrupt):
            sorter.finish()
    assert len(found()) == kept + linked
    rows[kept] = rows[kept]._replace(label=label)
    assert sort(*rows, means=means) == f"{counted(3 - kept, 'image')} sorted into 'out'" + (
        f" ({kept} were there)" if kept else ""
    )
    assert sorted(found().values()) == ["a/x.png", "b/x.png", "c/x.png"]
    assert [path.partition("/")[0] for path, name in found().items() if name == rows[kept].path] == [label]


def test_a_place_that_somebody_takes_in_between_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    images("in/a.png")
    with closing(Sorter("out")) as sorter:
        link = sorter._link

        def late(origin: str, at: str) -> None:
            if not Path("out/7/a.png").exists():
                images("out/7/a.png")
            link(origin, at)

        monkeypatch.setattr(sorter, "_link", late)
        sorter.write([row("in/a.png")])
        sorter.finish()
    assert found() == {"7/a.png": "out/7/a.png", f"7/a-{digest('in/a.png')}.png": "in/a.png"}


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("7", "7"),
        ("tabby cat", "tabby cat"),
        ("größe", "größe"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("_review", "%5Freview"),
        ("nul\0", "nul%00"),
        ("50%", "50%25"),
        ("", "%"),
        ("caf\udce9", "caf%E9"),
    ],
)
def test_a_label_becomes_a_folders_name(label: str, name: str) -> None:
    assert folder_of(label) == name


#: No lone surrogates but those that stand for a byte: neither a message nor a file of rows has others.
ODD = st.text(st.sampled_from("/%._-2EF\0 \n\udce9aé") | st.characters(exclude_categories=["Cs"]), max_size=200)


@given(ODD, ODD)
def test_any_label_is_a_good_name_and_another_one_for_each(one: str, other: str) -> None:
    for label in (one, other):
        name = folder_of(label)
        assert 0 < len(name.encode()) < 200
        assert name.isprintable()
        assert "/" not in name
        assert name[0] not in "._"
    assert (folder_of(one) == folder_of(other)) == (one == other)


def test_labels_and_names_that_are_no_good_names_are_sorted() -> None:
    name = os.fsdecode(b"in/\xff\n.png")
    images(name)
    sort(row(name, "../x" * 100))
    ((path, text),) = found().items()
    assert text == name
    assert Path("out", path).parent.parent == Path("out")


def test_what_can_not_be_put_there_is_listed_and_a_full_disk_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    images("in/a.png", "in/b.png")

    def fails(number: int) -> object:
        def link(origin: str, at: str) -> None:
            raise OSError(number, os.strerror(number))

        return link

    with closing(Sorter("out", "hard")) as sorter:
        monkeypatch.setattr(sorter, "_link", fails(errno.EXDEV))
        sorter.write([row("in/a.png", review=True)])
        sorter.finish()
        assert sorter.failed == 1
    assert Path("out/_errors.csv").read_text().endswith("in/a.png,not-sorted: Invalid cross-device link: --copy can\n")
    with closing(Sorter("out", "hard")) as sorter:
        monkeypatch.setattr(sorter, "_link", fails(errno.ENOSPC))
        sorter.write([row("in/b.png")])
        with pytest.raises(
            OutputFailed, match=r"^'out' can't be sorted into: No space left on device; run the same command again"
        ):
            sorter.finish()
    sort(row("in/a.png"), row("in/b.png"))
    assert sorted(found().values()) == ["in/a.png", "in/b.png"]


def test_what_lies_in_the_folder_itself_is_not_sorted() -> None:
    images("in/a.png")
    sort(row("in/a.png"), row("out/7/a.png"))
    assert found() == {"7/a.png": "in/a.png"}
    assert "out/7/a.png,not-sorted: it lies in the folder that is sorted into" in Path("out/_errors.csv").read_text()


@MEANS
def test_an_image_whose_only_file_lies_in_the_folder_is_left_there(means: Means) -> None:
    images("in/a.png")
    sort(row("in/a.png"), means="copy")
    Path("in/a.png").unlink()
    Path("in/a.png").symlink_to(Path("out/7/a.png").absolute())
    for again in (row("in/a.png", "3"), row("in/a.png", error="truncated: x")):
        sort(again, means=means)
        assert found() == {"7/a.png": "in/a.png"}


HOSTILE = ["../../up.png", "/abs/a.png", "..", "d//a.png", "d/./a.png", "l" * 300 + ".png", "a." + "x" * 300, "a.png"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("done", [0, 3])
def test_members_of_archives_are_copied_whatever_their_names(
    kind: str, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(Path(f"x.{kind}"), [(name, name.encode()) for name in HOSTILE])
    rows = [row(f"x.{kind}::{name}") for name in HOSTILE]
    put, copied = Unpacker.unpack, 0

    def killed(self: Unpacker, archive: str, name: str, to: str) -> None:
        nonlocal copied
        put(self, archive, name, to)
        copied += 1
        if copied == done:
            monkeypatch.setattr(Unpacker, "unpack", put)
            raise KeyboardInterrupt

    monkeypatch.setattr(Unpacker, "unpack", killed)
    if done:
        with closing(Sorter("out", "hard")) as sorter:
            sorter.write(rows)
            with pytest.raises(KeyboardInterrupt):
                sorter.finish()
    told = sort(*reversed(rows), means="hard")
    assert sorted(found().values()) == sorted(HOSTILE)
    assert all(Path("out", path).parent == Path("out/7") and not Path("out", path).is_symlink() for path in found())
    assert not Path("out/_errors.csv").exists(), told
    assert sort(*rows) == f"0 images sorted into 'out' ({len(rows)} were there)"


@pytest.mark.parametrize("labels", [("7", "3"), ("", "3"), ("7", "7")])
def test_members_of_one_name_are_listed_since_nobody_knows_whose_label_it_is(labels: tuple[str, str]) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        pack(Path("x.zip"), [("a.png", b"first"), ("a.png", b"second"), ("b.png", b"b")])
    rows = [row("x.zip::a.png", label, error="" if label else "truncated: x") for label in labels]
    sort(*rows, row("x.zip::b.png"))
    assert found() == {"7/b.png": "b"}
    assert Path("out/_errors.csv").read_text().splitlines()[1:] == [
        "x.zip::a.png,not-sorted: more than one image has this name"
    ]


def test_a_member_that_can_not_be_had_is_listed() -> None:
    pack(Path("x.tar"), [("a.png", b"a")])
    Path("broken.zip").write_bytes(b"PK")
    pack(Path("locked.zip"), [("a.png", b"a")])
    locked = bytearray(Path("locked.zip").read_bytes())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # as if it were encrypted
        locked[locked.index(header) + flags] |= 1
    Path("locked.zip").write_bytes(locked)
    sort(*(row(f"{name}.png") for name in ("x.tar::b", "x.tar::a", "broken.zip::a", "locked.zip::a", "gone.zip::a")))
    assert found() == {"7/a.png": "a"}
    top = Path.cwd()
    assert Path("out/_errors.csv").read_text().splitlines()[1:] == [
        f"x.tar::b.png,not-sorted: '{top}/x.tar' has no such member",
        f"broken.zip::a.png,\"not-sorted: the archive '{top}/broken.zip' is damaged, or none that can be read: "
        'File is not a zip file; pack it anew"',
        f"locked.zip::a.png,not-sorted: it is encrypted in '{top}/locked.zip'",
        "gone.zip::a.png,not-here: it can't be seen from here",
    ]


@pytest.mark.parametrize("name", ["_errors.csv", "_sorted.db"])
def test_a_folder_with_something_of_our_names_is_refused(name: str) -> None:
    images(f"out/{name}")
    with pytest.raises((UsageError, OutputFailed), match=r"^'out' "):
        Sorter("out")
    assert Path("out", name).read_text() == f"out/{name}"


def test_a_folder_that_another_command_sorts_into_is_refused() -> None:
    with (
        closing(Sorter("out")),
        pytest.raises(OutputFailed, match=r"^'out' can't be sorted into: another command sorts"),
    ):
        Sorter("out")
    Sorter("out").close()


def test_a_folder_that_is_none_is_told() -> None:
    images("out")
    with pytest.raises(UsageError, match=r"^'out' is a file, and --sort-into takes a folder: choose another DIR$"):
        Sorter("out")


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no other file system at hand")
def test_hard_links_to_another_file_system_are_refused_at_once(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere).st_dev != os.stat(tmp_path).st_dev
        with (
            pytest.raises(UsageError, match="lie on two file systems, and no hard link leads from one to the other"),
            sorting("out/new", Links.hard, False, True, [elsewhere]),
        ):
            pass
    assert not list(Path("out/new").glob("[!_]*"))


def test_a_command_that_could_not_sort_an_image_ends_as_with_error_rows() -> None:
    def command() -> None:
        with sorting("out", None, False, True, []) as sorter:
            assert sorter is not None
            sorter.write([row("gone.png")])
            sorter.finish()

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == ExitCode.ERROR_ROWS


@pytest.fixture(autouse=True)
def leaves_no_temporary_file(folder: Path) -> Iterator[None]:
    yield
    assert not list(folder.rglob("*.new")) + list(folder.rglob("*.copying"))
