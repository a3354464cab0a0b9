"""`--sort-into DIR`: each image in one folder after interruptions and changes, and nothing overwritten."""

import errno
import hashlib
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import ExitCode, OutputFailed, SourceError, UsageError
from pigeonhole.ledger.done import Origin
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.folders.sorting import Sorter, folder_of
from pigeonhole.sources.members.archives import INSIDE, archive_kind, members
from pigeonhole.sources.reference import Identity, Location
from pigeonhole.sources.source import identity_of
from pigeonhole.text import counted
from producer.arguments.options import Links
from producer.arguments.outputs import sorting
from tests.packing import KINDS, pack
from tests.sinks.test_sinks import SEVEN

pytestmark = pytest.mark.usefixtures("folder")
Method = Literal["symbolic", "hard", "copy"]
METHODS = pytest.mark.parametrize("method", ["symbolic", "hard", "copy"])


def images(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(os.fsencode(path))


def row(path: str, label: str = "7", review: bool = False, error: str = "") -> Row:
    return SEVEN._replace(path=path, label="" if error else label, review=review, error=error)


def origins(rows: Iterable[Row]) -> list[Origin]:
    """Return the origins of rows whose images are read now; members with the same name are taken in their order."""
    seen = Counter[str]()
    return [origin(path, (seen.update([path]), seen[path] - 1)[1]) for path in (row.path for row in rows)]


def origin(path: str, which: int = 0) -> Origin:
    file, inside, name = path.partition(INSIDE)
    if not inside:
        return Origin(Location("file", "", path), identity(path))
    kind = archive_kind(file)
    try:
        places = [member.place for member in members(file) if member.name == name]
    except SourceError:
        places = []
    place = places[which % len(places)] if places else (0, 1, 1, 0, 0)
    return Origin(Location(kind.scheme if kind else "zip", file, inside + name, place), identity(file))


def identity(file: str) -> Identity:
    return identity_of(os.stat(file)) if os.path.exists(file) else 1


def sort(*rows: Row, method: Method = "symbolic", read: Sequence[Origin] | None = None) -> str:
    with closing(Sorter("out", method)) as sorter:
        sorter.write(rows, read or origins(rows))
        sorter.finish()
        return sorter.report()


def found() -> dict[str, str]:
    """Return the files in the folder: path → content, which is the path of the original image."""
    files = (path for path in Path("out").rglob("*") if path.is_file() and not path.name.startswith("_"))
    return {str(path.relative_to("out")): os.fsdecode(path.read_bytes()) for path in files}


@pytest.mark.parametrize(("csv_safe", "shown"), [(False, "=1+1.png"), (True, "'=1+1.png")])
def test_the_list_of_errors_can_be_safe_for_spreadsheets(csv_safe: bool, shown: str) -> None:
    with closing(Sorter("out", csv_safe=csv_safe)) as sorter:
        rows = [row("=1+1.png", error="missing: no such file")]
        sorter.write(rows, origins(rows))
        sorter.finish()
    assert Path("out/_errors.csv").read_text() == f"path,error\n{shown},missing: no such file\n"


@METHODS
def test_images_get_into_the_folder_of_their_label_and_doubtful_ones_apart(method: Method) -> None:
    images("in/a.png", "in/b.png", "in/c.png")
    told = sort(
        row("in/a.png"), row("in/b.png", "4", review=True), row("in/c.png", error="truncated: of, 3"), method=method
    )
    assert found() == {"7/a.png": "in/a.png", "_review/4/b.png": "in/b.png"}
    assert Path("out/_errors.csv").read_text() == 'path,error\nin/c.png,"truncated: of, 3"\n'
    assert told == "2 images sorted into 'out'; 1 listed in 'out/_errors.csv'"
    there = Path("out/7/a.png")
    assert there.is_symlink() == (method == "symbolic")
    assert there.samefile("in/a.png") == (method != "copy")
    if method == "symbolic":
        assert there.readlink() == Path("in/a.png").absolute()
    if method == "copy":
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
    assert 'in/x.png,"not-sorted: other files have the names' in Path("out/_errors.csv").read_text()


def test_a_name_as_long_as_names_may_be_has_room_for_its_suffix() -> None:
    long = "é" * 125 + ".png"
    images(f"a/{long}", f"b/{long}")
    sort(row(f"a/{long}"), row(f"b/{long}"))
    assert sorted(found().values()) == [f"a/{long}", f"b/{long}"]


@METHODS
def test_an_image_is_sorted_once_and_stays_where_somebody_moved_it(method: Method) -> None:
    images("in/a.png", "in/b.png", "in/c.png")
    rows = [row("in/a.png"), row("./in/../in/b.png", "1", review=True), row("in/a.png"), row("in/c.png", "2")]
    assert sort(*rows, method=method) == "3 images sorted into 'out'"
    Path("out/9").mkdir()
    Path("out/_review/1/b.png").rename("out/9/b.png")
    Path("out/2/c.png").unlink()
    changed = [row("in/a.png"), row(str(Path("in/b.png").absolute()), "3"), row("in/c.png", "3")]
    for again in (rows, changed):
        assert sort(*again, method=method) == "0 images sorted into 'out' (3 already there)"
    assert found() == {"7/a.png": "in/a.png", "9/b.png": "in/b.png"}


@METHODS
def test_an_image_whose_label_has_changed_leaves_its_folder(method: Method) -> None:
    images("in/a.png", "in/b.png")
    sort(row("in/a.png"), row("in/b.png"), method=method)
    assert sort(row("in/a.png", "3"), row("in/b.png"), method=method) == "1 image sorted into 'out' (1 already there)"
    assert found() == {"3/a.png": "in/a.png", "7/b.png": "in/b.png"}


@METHODS
def test_a_file_that_has_changed_is_never_under_its_old_label(method: Method) -> None:
    images("in/a.png", "in/b.png")
    sort(row("in/a.png"), row("in/b.png"), method=method)
    Path("in/a.png").write_bytes(b"a three")
    Path("in/b.png").write_bytes(b"no image")
    sort(row("in/a.png", "3"), row("in/b.png", error="not-an-image: no"), method=method)
    copies = {"7/a.png": "in/a.png", "7/b.png": "in/b.png"} if method == "copy" else {}
    assert found() == {"3/a.png": "a three", **copies}, "a copy has the bytes that had its label"


def test_nothing_is_sorted_before_the_rows_are_complete() -> None:
    images("in/a.png", "in/b.png")
    with closing(Sorter("out")) as sorter:
        rows = [row("in/a.png", "1"), row("in/b.png")]
        sorter.write(rows, origins(rows))
    assert found() == {}
    sort(row("in/a.png", "3"))
    assert found() == {"3/a.png": "in/a.png"}, "only the rows of this run count"


def test_what_is_sorted_at_last_is_not_listed_any_more() -> None:
    images("in/a.png")
    sort(row("in/a.png", error="crashed: twice"), row("gone.png"))
    assert Path("out/_errors.csv").read_text() == (
        "path,error\nin/a.png,crashed: twice\ngone.png,not-here: it is not on this machine\n"
    )
    images("gone.png")
    sort(row("in/a.png"), row("gone.png"))
    assert found() == {"7/a.png": "in/a.png", "7/gone.png": "gone.png"}
    assert not Path("out/_errors.csv").exists()


@METHODS
@pytest.mark.parametrize("kept", [0, 1, 2])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("label", ["7", "3"])
def test_a_pass_that_was_killed_is_completed_by_the_next(
    method: Method, kept: int, linked: bool, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("a/x.png", "b/x.png", "c/x.png")
    rows = [row("a/x.png"), row("b/x.png"), row("c/x.png")]
    read = origins(rows)
    with closing(Sorter("out", method)) as sorter:

        def killing(system: Callable[..., None]) -> Callable[..., None]:
            def call(*names: str) -> None:
                if len(found()) < kept:
                    return system(*names)
                if linked:
                    system(*names)
                raise KeyboardInterrupt

            return call

        sorter.write(rows, read)
        with monkeypatch.context() as patched:
            patched.setattr(os, "link", killing(os.link))
            patched.setattr(os, "symlink", killing(os.symlink))
            with pytest.raises(KeyboardInterrupt):
                sorter.finish()
    assert len(found()) == kept + linked
    rows[kept] = rows[kept]._replace(label=label)
    assert sort(*rows, method=method, read=read) == f"{counted(3 - kept, 'image')} sorted into 'out'" + (
        f" ({kept} already there)" if kept else ""
    )
    assert sorted(found().values()) == ["a/x.png", "b/x.png", "c/x.png"]
    assert [path.partition("/")[0] for path, name in found().items() if name == rows[kept].path] == [label]


@pytest.mark.parametrize(("method", "links"), [("symbolic", True), ("hard", True), ("copy", True), ("copy", False)])
def test_a_place_that_somebody_takes_at_the_last_moment_is_never_overwritten(
    method: Method, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("in/a.png")

    def late(system: Callable[..., None]) -> Callable[..., None]:
        def call(source: str, at: str) -> None:
            if not Path("out/7/a.png").exists():
                images("out/7/a.png")
            if not links and system is link:
                raise PermissionError(errno.EPERM, "as FAT does")
            system(source, at)

        return call

    link = os.link
    monkeypatch.setattr(os, "link", late(os.link))
    monkeypatch.setattr(os, "symlink", late(os.symlink))
    sort(row("in/a.png"), method=method)
    assert found() == {"7/a.png": "out/7/a.png", f"7/a-{digest('in/a.png')}.png": "in/a.png"}


@pytest.mark.parametrize("renamed", [False, True])
def test_a_copy_that_was_killed_on_a_file_system_without_links_is_completed(
    renamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("in/a.png")
    rename = os.rename

    def no_links(source: str, at: str) -> None:
        raise PermissionError(errno.EPERM, "as FAT does")

    def killed(source: str, at: str) -> None:
        if renamed:
            rename(source, at)
        os._exit(9)

    monkeypatch.setattr(os, "link", no_links)
    child = os.fork()
    if not child:
        monkeypatch.setattr(os, "rename", killed)
        sort(row("in/a.png"), method="copy")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert found() == {"7/a.png": "in/a.png" if renamed else ""}
    sort(row("in/a.png"), method="copy")
    assert found() == {"7/a.png": "in/a.png"}


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


#: Without lone surrogates that stand for no byte, which can't occur in messages and files.
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
        def link(source: str, at: str) -> None:
            raise OSError(number, os.strerror(number))

        return link

    with closing(Sorter("out", "hard")) as sorter, monkeypatch.context() as patched:
        patched.setattr(os, "link", fails(errno.EXDEV))
        rows = [row("in/a.png", review=True)]
        sorter.write(rows, origins(rows))
        sorter.finish()
        assert sorter.failed == 1
    assert Path("out/_errors.csv").read_text().endswith("in/a.png,not-sorted: Invalid cross-device link: use --copy\n")
    with closing(Sorter("out", "hard")) as sorter, monkeypatch.context() as patched:
        patched.setattr(os, "link", fails(errno.ENOSPC))
        rows = [row("in/b.png")]
        sorter.write(rows, origins(rows))
        with pytest.raises(
            OutputFailed, match=r"^can't sort into 'out': No space left on device. When that is solved, run the same"
        ):
            sorter.finish()
    sort(row("in/a.png"), row("in/b.png"))
    assert sorted(found().values()) == ["in/a.png", "in/b.png"]


def test_what_lies_in_the_folder_itself_is_not_sorted() -> None:
    images("in/a.png")
    sort(row("in/a.png"), row("out/7/a.png"))
    assert found() == {"7/a.png": "in/a.png"}
    assert "out/7/a.png,not-sorted: it lies in the folder of --sort-into" in Path("out/_errors.csv").read_text()


@METHODS
def test_an_image_whose_only_file_lies_in_the_folder_is_left_there(method: Method) -> None:
    images("in/a.png")
    sort(row("in/a.png"), method="copy")
    Path("in/a.png").unlink()
    Path("in/a.png").symlink_to(Path("out/7/a.png").absolute())
    for again in (row("in/a.png", "3"), row("in/a.png", error="truncated: x")):
        sort(again, method=method)
        assert found() == {"7/a.png": "in/a.png"}


HOSTILE = ["../../up.png", "/abs/a.png", "..", "d//a.png", "d/./a.png", "l" * 300 + ".png", "a." + "x" * 300, "a.png"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("done", [0, 3])
def test_members_of_archives_are_copied_whatever_their_names(
    kind: str, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(Path(f"x.{kind}"), [(name, name.encode()) for name in HOSTILE])
    rows = [row(f"x.{kind}::{name}") for name in HOSTILE]
    if done:
        link = os.link

        def killed(source: str, at: str) -> None:
            link(source, at)
            if len(found()) == done:
                raise KeyboardInterrupt

        with closing(Sorter("out", "hard")) as sorter, monkeypatch.context() as patched:
            patched.setattr(os, "link", killed)
            sorter.write(rows, origins(rows))
            with pytest.raises(KeyboardInterrupt):
                sorter.finish()
    told = sort(*reversed(rows), method="hard")
    assert sorted(found().values()) == sorted(HOSTILE)
    assert all(Path("out", path).parent == Path("out/7") and not Path("out", path).is_symlink() for path in found())
    assert not Path("out/_errors.csv").exists(), told
    assert sort(*rows) == f"0 images sorted into 'out' ({len(rows)} already there)"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", KINDS)
def test_each_of_two_members_of_one_name_gets_under_its_own_label(kind: str) -> None:
    content = [("a.png", b"first"), ("b.png", b"b"), ("a.png", b"second"), ("a.png", b"third")]
    pack(Path(f"x.{kind}"), content)
    path = f"x.{kind}::a.png"
    rows = [row(path, "7"), row(f"x.{kind}::b.png"), row(path, "3"), row(path, "7")]
    sort(*rows)
    third = f"7/a-{digest(path + chr(0) + '2')}.png"
    sorted_once = {"7/a.png": "first", "7/b.png": "b", "3/a.png": "second", third: "third"}
    assert found() == sorted_once
    pack(Path(f"x.{kind}"), [("new.txt", b"packed anew"), *content])
    assert sort(*rows) == "0 images sorted into 'out' (4 already there)"
    rows[0] = row(path, error="truncated: x")
    sort(*rows)
    assert found() == sorted_once, "a copy stays: it has the bytes that had the label"
    assert Path("out/_errors.csv").read_text() == f"path,error\n{path},truncated: x\n"


def test_a_member_that_a_list_names_twice_is_one_image() -> None:
    pack(Path("x.tar"), [("a.png", b"a")])
    assert sort(row("x.tar::a.png"), row("x.tar::a.png")) == "1 image sorted into 'out'"
    assert found() == {"7/a.png": "a"}


@METHODS
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_an_image_whose_file_changed_after_it_was_classified_is_listed_in_place_of_sorted(
    method: Method, packed: bool, before: bool
) -> None:
    images("in/b.png")
    file = Path("x.tar" if packed else "in/a.png")

    def write(text: bytes) -> None:
        pack(file, [("a.png", text)]) if packed else file.write_bytes(text)

    write(b"a seven")
    rows = [row("x.tar::a.png" if packed else "in/a.png"), row("in/b.png")]
    read = origins(rows)
    if before:
        sort(*rows, method=method, read=read)
    write(b"a three")
    sort(*rows, method=method, read=read)
    if before and (packed or method == "copy"):
        assert found() == {"7/a.png": "a seven", "7/b.png": "in/b.png"}, "what was put there was classified"
        return
    assert found() == {"7/b.png": "in/b.png"}
    assert Path("out/_errors.csv").read_text() == (
        f"path,error\n{rows[0].path},not-sorted: it was changed since it was classified: run the same command again\n"
    )
    sort(*rows, method=method)
    assert found() == {"7/a.png": "a three", "7/b.png": "in/b.png"}


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_changes_while_it_is_copied_is_listed(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    images("in/a.png")
    pack(Path("x.tar"), [("a.png", b"a")])
    file, path = ("x.tar", "x.tar::a.png") if packed else ("in/a.png", "in/a.png")
    read = origins([row(path)])
    fstat = os.fstat

    def changing(handle: int) -> os.stat_result:
        status = fstat(handle)
        os.utime(file, (1, 1))
        return status

    monkeypatch.setattr(os, "fstat", changing)
    sort(row(path), method="copy", read=read)
    assert found() == {}
    assert "not-sorted: it was changed since it was classified" in Path("out/_errors.csv").read_text()


def test_another_file_in_the_place_of_one_while_that_is_copied_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    images("in/a.png", "other/a.png")
    read = origins([row("in/a.png")])
    opened = os.open

    def exchanging(path: str, *options: int) -> int:
        if not path.endswith("/in/a.png"):
            return opened(path, *options)
        os.rename("in", "away")
        os.rename("other", "in")
        try:
            return opened(path, *options)
        finally:
            os.rename("in", "other")
            os.rename("away", "in")

    monkeypatch.setattr(os, "open", exchanging)
    sort(row("in/a.png"), method="copy", read=read)
    assert found() == {}
    assert "not-sorted: it was changed while it was copied" in Path("out/_errors.csv").read_text()


@METHODS
def test_an_image_whose_identity_is_not_known_is_listed(method: Method) -> None:
    images("in/a.png")
    sort(row("in/a.png"), method=method, read=[Origin(Location("file", "", "in/a.png"), 0)])
    assert found() == {}
    assert Path("out/_errors.csv").read_text() == (
        'path,error\nin/a.png,"not-sorted: it was changed just before it was classified, and may have changed since: '
        'run the same command again"\n'
    )


def test_hard_links_that_we_made_are_no_change_of_the_file() -> None:
    images("in/a.png")
    os.link("in/a.png", "in/b.png")
    rows = [row("in/a.png"), row("in/b.png")]
    read = origins(rows)
    assert sort(*rows, method="hard", read=read) == "2 images sorted into 'out'"
    assert sort(*rows, method="hard", read=read) == "0 images sorted into 'out' (2 already there)"
    relabelled = [row("in/a.png", "3"), row("in/b.png")]
    assert sort(*relabelled, method="hard", read=read) == "1 image sorted into 'out' (1 already there)"
    assert found() == {"3/a.png": "in/a.png", "7/b.png": "in/a.png"}


def test_a_record_of_another_version_is_refused() -> None:
    sort()
    with closing(sqlite3.connect("out/_sorted.db")) as record:
        record.execute("PRAGMA user_version = 1")
    with pytest.raises(
        OutputFailed, match=r"_sorted.db' was written by another version of Pigeonhole: choose another DIR"
    ):
        Sorter("out")


def test_a_member_that_can_not_be_had_is_listed() -> None:
    pack(Path("x.tar"), [("a.png", b"a")])
    Path("broken.zip").write_bytes(b"PK")
    pack(Path("locked.zip"), [("a.png", b"a")])
    locked = bytearray(Path("locked.zip").read_bytes())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # as if it were encrypted
        locked[locked.index(header) + flags] |= 1
    Path("locked.zip").write_bytes(locked)
    sort(*(row(f"{name}.png") for name in ("x.tar::a", "broken.zip::a", "locked.zip::a", "gone.zip::a")))
    assert found() == {"7/a.png": "a"}
    assert Path("out/_errors.csv").read_text().splitlines()[1:] == [
        'broken.zip::a.png,"not-sorted: the archive ends within it: it is cut off, or was changed since"',
        'locked.zip::a.png,"not-sorted: it is encrypted; unpack it, or pack it without a password"',
        "gone.zip::a.png,not-here: it is not on this machine",
    ]


def test_an_image_of_a_source_without_files_is_not_here() -> None:
    sort(row("checker:5/0.png"), read=[Origin(Location("checker", "", "0.png", (1,)), 1)])
    assert Path("out/_errors.csv").read_text() == "path,error\nchecker:5/0.png,not-here: it is not on this machine\n"


@pytest.mark.parametrize("name", ["_errors.csv", "_sorted.db"])
def test_a_folder_with_something_of_our_names_is_refused(name: str) -> None:
    images(f"out/{name}")
    with pytest.raises((UsageError, OutputFailed), match=r"'out'"):
        Sorter("out")
    assert Path("out", name).read_text() == f"out/{name}"


def test_a_folder_that_another_command_sorts_into_is_refused() -> None:
    with (
        closing(Sorter("out")),
        pytest.raises(OutputFailed, match=r"^can't sort into 'out': another command is sorting"),
    ):
        Sorter("out")
    Sorter("out").close()


def test_a_folder_that_is_none_is_told() -> None:
    images("out")
    with pytest.raises(UsageError, match=r"^'out' is a file, and --sort-into needs a folder: choose another DIR$"):
        Sorter("out")


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no other file system at hand")
def test_hard_links_to_another_file_system_are_refused_at_once(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere).st_dev != os.stat(tmp_path).st_dev
        with (
            pytest.raises(UsageError, match="on different file systems, so hard links are impossible"),
            sorting("out/new", Links.hard, False, True, [elsewhere]),
        ):
            pass
    assert not list(Path("out/new").glob("[!_]*"))


def test_a_command_that_could_not_sort_an_image_ends_as_with_error_rows() -> None:
    def command() -> None:
        with sorting("out", None, False, True, []) as sorter:
            assert sorter is not None
            sorter.write([row("gone.png")], origins([row("gone.png")]))
            sorter.finish()

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == ExitCode.ERROR_ROWS


@pytest.fixture(autouse=True)
def leaves_no_temporary_file(folder: Path) -> Iterator[None]:
    yield
    assert not list(folder.rglob("*.new")) + list(folder.rglob("*.copying"))
