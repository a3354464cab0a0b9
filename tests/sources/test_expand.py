import _thread
import os
import shutil
import subprocess
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import permutations
from pathlib import Path

import pytest

from pigeonhole.errors import SourceError
from pigeonhole.sources import folders, lists
from pigeonhole.sources.expand import expand
from pigeonhole.sources.folders import EXTENSIONS
from pigeonhole.sources.reference import Root
from tests.sources.conftest import pairs, shown, touch

AsNobody = Callable[[Path], AbstractContextManager[None]]


def refused(*sources: str, root: str = "/") -> str:
    with pytest.raises(SourceError) as error:
        expand(sources, Root(root))
    return str(error.value)


def test_a_file_is_taken_whatever_it_is_called(folder: Path) -> None:
    touch("a.png", "notes", "b.xyz", ".hidden")
    assert shown("a.png", "./notes", str(folder / "b.xyz"), ".hidden") == [
        "a.png",
        "./notes",
        f"{folder}/b.xyz",
        ".hidden",
    ]


def test_a_reference_tells_the_size_of_its_file(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"12345")
    for source in ("a.png", ".", "*.png"):
        assert [reference.size for reference in expand([source], Root("/"))] == [5]


def test_a_folder_gives_its_images_by_extension_in_any_case_and_those_below_it(folder: Path) -> None:
    touch("in/b.PNG", "in/a.jpg", "in/notes.txt", "in/png", "in/x.png.bak", "in/sub/deep/c.TiFf", "in/sub/.d.png")
    assert shown("in") == ["in/a.jpg", "in/b.PNG", "in/sub/deep/c.TiFf"]


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_every_known_extension_is_found(folder: Path, extension: str) -> None:
    touch(f"in/a.{extension}", f"in/b.{extension.upper()}")
    assert shown("in") == [f"in/a.{extension}", f"in/b.{extension.upper()}"]


def test_hidden_files_and_folders_are_left_out_unless_they_are_named(folder: Path) -> None:
    touch("in/.a.png", "in/.git/b.png", "in/c.png")
    assert shown("in") == ["in/c.png"]
    assert shown("in/.git", "in") == ["in/.git/b.png", "in/c.png"]
    assert shown("in", "in/.a.png", "in/.git/b.png") == ["in/c.png", "in/.a.png", "in/.git/b.png"]


@pytest.mark.parametrize(
    ("source", "beginning"),
    [("in", "in/"), ("in/", "in/"), ("./in", "./in/"), ("in/.", "in/./"), ("in/../in", "in/../in/"), ("in//", "in//")],
)
def test_a_folder_s_files_are_shown_as_the_folder_was_named_joined_with_their_path(
    folder: Path, source: str, beginning: str
) -> None:
    touch("in/a.png", "in/sub/b.png")
    assert pairs(expand([source], Root("/"))) == [
        (f"{beginning}a.png", f"{folder}/in/a.png"[1:]),
        (f"{beginning}sub/b.png", f"{folder}/in/sub/b.png"[1:]),
    ]


def test_the_current_folder_and_the_one_above_can_be_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.png")
    assert shown(".") == ["./in/a.png"]
    monkeypatch.chdir("in")
    assert shown(".") == ["./a.png"]
    assert shown("..") == ["../in/a.png"]
    assert pairs(expand(["../in/a.png"], Root("/"))) == [("../in/a.png", f"{folder}/in/a.png"[1:])]


def test_two_slashes_before_an_absolute_path_are_one(folder: Path) -> None:
    touch("in/a.png")
    for source in (f"/{folder}/in", f"//{folder}/in"):
        assert pairs(expand([source], Root("/"))) == [(f"{source}/a.png", f"{folder}/in/a.png"[1:])]


ODD = [b"caf\xe9.png", b"new\nline.png", b"a,b.png", b'qu"ote.png', b"-rf.png", b" .png", b"tab\t.png", b"\\.png"]


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_bytes_come_through_unharmed(folder: Path, name: bytes) -> None:
    touch(b"in/" + name)
    assert [os.fsencode(path) for path in shown("in")] == [b"in/" + name]
    assert [os.fsencode(path) for path in shown(os.fsdecode(b"in/" + name))] == [b"in/" + name]
    assert [os.fsencode(path) for path in shown("in/*.png")] == [b"in/" + name]
    Path("list").write_bytes(b"in/" + name + b"\0")
    assert [os.fsencode(path) for path in shown("@list", null_separated=True)] == [b"in/" + name]


def test_files_first_then_folders_each_by_name(folder: Path) -> None:
    touch("in/a/z.png", "in/b.png", "in/c/y.png", "in/d.png", "in/a/b/x.png")
    assert shown("in") == ["in/b.png", "in/d.png", "in/a/z.png", "in/a/b/x.png", "in/c/y.png"]


def test_links_are_followed_and_shown_under_their_own_name(folder: Path) -> None:
    touch("elsewhere/a.png", "elsewhere/sub/b.png", "in/own.png")
    (folder / "in/link").symlink_to("../elsewhere")
    (folder / "in/file.png").symlink_to("../elsewhere/a.png")
    assert shown("in") == ["in/file.png", "in/own.png", "in/link/a.png", "in/link/sub/b.png"]
    assert shown("in/link") == ["in/link/a.png", "in/link/sub/b.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "loop", "other"])
def test_links_that_go_round_in_a_circle_end(folder: Path, target: str) -> None:
    touch("in/sub/a.png")
    (folder / "in/sub/loop").symlink_to(target)
    (folder / "in/sub/other").symlink_to("loop")
    found = shown("in")
    assert found[0] == "in/sub/a.png"
    assert len(found) < 5
    assert shown("**/a.png") == ["in/sub/a.png"]


def test_links_to_nowhere_are_left_to_the_worker_if_they_look_like_images(folder: Path) -> None:
    touch("in/file")
    for name, target in {"gone.png": "no-such", "below.png": "file/x", "long.png": "x" * 300, "gone": "no"}.items():
        (folder / "in" / name).symlink_to(target)
    assert shown("in") == ["in/below.png", "in/gone.png", "in/long.png"]


def test_a_folder_called_like_an_image_is_a_folder(folder: Path) -> None:
    touch("in/x.png/a.png")
    assert shown("in") == ["in/x.png/a.png"]


def test_a_tree_deeper_than_python_s_stack_is_walked_to_its_end(folder: Path) -> None:
    depth = 1_500
    path = "/".join(["in"] + ["d"] * depth)
    handle = os.open(".", os.O_RDONLY)
    for name in path.split("/"):
        os.mkdir(name, dir_fd=handle)
        deeper = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(os.open("a.png", os.O_CREAT, dir_fd=handle))
    os.close(handle)
    try:
        assert shown("in") == [f"{path}/a.png"]
        assert shown("in/**/*.png") == [f"{path}/a.png"]
    finally:
        subprocess.run(["rm", "-r", "in"], check=True)  # pytest can't remove more than a thousand nested folders


@pytest.mark.parametrize("order", list(permutations(["in", "in/sub", "in/sub/a.png", "in/b.png"])))
def test_a_source_inside_another_is_taken_once_for_the_first_that_is_named(
    folder: Path, order: tuple[str, ...]
) -> None:
    touch("in/sub/a.png", "in/b.png", "in/sub/deep/c.png")
    # The references of each SOURCE alone, without those of earlier SOURCEs.
    assert shown(*order) == [*dict.fromkeys(path for source in order for path in shown(source))]


def test_a_source_that_is_named_twice_is_taken_once_however_it_is_spelled(folder: Path) -> None:
    touch("in/a.png", "notes")
    assert shown("in", "in", "./in", "in/", f"{folder}/in", "in/../in") == ["in/a.png"]
    assert shown("notes", "./notes", "in/../notes") == ["notes"]
    assert shown("in/*", "./in/*", "in/*") == ["in/a.png"]


def test_a_folder_whose_name_begins_like_another_s_is_not_inside_it(folder: Path) -> None:
    touch("in/a.png", "in2/b.png")
    assert shown("in", "in2", "in2/b.png") == ["in/a.png", "in2/b.png"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no-such", "'no-such': No such file or directory"),
        ("no-such/a.png", "'no-such/a.png': No such file or directory"),
        ("a.png/b.png", "'a.png/b.png': Not a directory"),
        ("", "'': No such file or directory"),
        ("round", "'round': Too many levels of symbolic links"),
        ("nowhere", "'nowhere': No such file or directory"),
        ("caf\udce9", "'caf\\udce9': No such file or directory"),
        ("no-such/*.png", "'no-such/*.png' matches no image"),
        ("*.gif", "'*.gif' matches no image"),
        ("empty/*", "'empty/*' matches no image"),
        ("*/", "'*/' matches no image"),
        ("@no-such", "the list '@no-such' can't be read: No such file or directory"),
        ("@empty", "the list '@empty' can't be read: Is a directory"),
        ("@blank", "the list '@blank' is empty"),
    ],
)
def test_a_source_that_is_of_no_use_is_told_at_once(folder: Path, source: str, said: str) -> None:
    touch("a.png", "empty/sub/notes.txt", "empty/.hidden.png")
    Path("blank").write_bytes(b"\n\n\n")
    (folder / "round").symlink_to("round")
    (folder / "nowhere").symlink_to("no-such")
    assert refused(source) == said
    assert refused("a.png", source) == said


def test_a_folder_without_images_is_told_with_what_would_be_one(folder: Path) -> None:
    touch("empty/notes.txt")
    said = refused("empty")
    assert said.startswith("'empty' holds no image; the known extensions are avif bmp ")
    assert all(f" {extension}" in said for extension in EXTENSIONS)


def test_a_folder_that_can_not_be_read_is_told(folder: Path, as_nobody: AsNobody) -> None:
    touch("in/secret/a.png")
    (folder / "in/secret").chmod(0)
    with as_nobody(folder):
        assert refused("in") == "the folder 'in/secret/' can't be read: Permission denied"
        assert refused("in/*/*.png") == "the folder 'in/secret/' can't be read: Permission denied"
        assert refused("in/secret/a.png") == "'in/secret/a.png': Permission denied"
    (folder / "in/secret").chmod(0o755)


def test_a_folder_that_vanishes_while_it_is_walked_is_told(folder: Path) -> None:
    touch("in/a.png", "in/sub/b.png")
    references = expand(["in"], Root("/"))
    assert next(references).path == "a.png"
    (folder / "in/sub/b.png").unlink()
    (folder / "in/sub").rmdir()
    with pytest.raises(SourceError, match=r"^the folder 'in/sub/' can't be read: No such file or directory$"):
        list(references)


# Lists


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_a_list_has_a_path_on_each_line(folder: Path, end: bytes) -> None:
    Path("list").write_bytes(b"a.png\n\nb c.png\ncaf\xe9.png" + end)
    assert [os.fsencode(path) for path in shown("@list")] == [b"a.png", b"b c.png", b"caf\xe9.png"]


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_a_list_may_come_from_windows(folder: Path, end: bytes) -> None:
    Path("list").write_bytes(b"\xef\xbb\xbfa.png\r\n\r\nb c.png" + end)
    assert shown("@list") == ["a.png", "b c.png"]
    Path("list").write_bytes(b"a.png\nb\r\n")
    assert shown("@list") == ["a.png", "b\r"], "a name may end so where the first line does not"


def test_a_list_may_be_separated_by_nul_bytes(folder: Path) -> None:
    Path("list").write_bytes(b"a\n1.png\0\0b.png\0")
    assert shown("@list", null_separated=True) == ["a\n1.png", "b.png"]


def test_an_interruption_that_no_system_call_is_told_of_ends_a_list_that_stays_open(folder: Path) -> None:
    os.mkfifo("list")
    reader = lists.entries("@list", null_separated=False)
    writer = os.open("list", os.O_RDWR)  # both ends: it stays open
    os.write(writer, b"a.png\n")
    assert next(reader) == "a.png"
    # As a signal between Python's check for signals and the read; the thread waits until the read blocks.
    blocked = threading.Timer(0.2, _thread.interrupt_main)
    blocked.start()
    with pytest.raises(KeyboardInterrupt):
        next(reader)
    os.close(writer)


def test_a_list_is_taken_as_it_is(folder: Path) -> None:
    touch("in/a.png")
    Path("list").write_text("in/a.png\nin/a.png\nno-such\nin\n")
    assert shown("in", "@list") == ["in/a.png", "in/a.png", "in/a.png", "no-such", "in"]


def test_a_list_comes_from_standard_input_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    before = os.dup(0)
    os.dup2(read, 0)
    try:
        os.write(write, b"a.png\nb.")
        references = expand(["-"], Root("/"))
        assert next(references).path == "a.png"  # before the list is complete
        os.write(write, b"png")
        os.close(write)
        assert [reference.path for reference in references] == ["b.png"]
        os.fstat(0)  # still open
    finally:
        os.dup2(before, 0)
        for handle in (before, read):
            os.close(handle)


def test_an_entry_may_lie_across_two_reads(folder: Path) -> None:
    long = "d/" * 2045 + "a.png"
    Path("list").write_text(f"{long}\n" * 50 + "b.png\n")
    assert shown("@list") == [*[long] * 50, "b.png"]


def test_an_entry_that_is_longer_than_any_path_is_refused_by_its_list_and_number(folder: Path) -> None:
    longest = "d" * 4096
    Path("list").write_text(f"a.png\r\n\r\n{longest}\r\n")
    assert shown("@list") == ["a.png", longest]
    for ending in ("\n", "", "x" * 100_000):
        Path("list").write_text(f"a.png\n\n{longest}d{ending}")
        with pytest.raises(SourceError) as error:
            list(expand(["@list"], Root("/")))
        assert str(error.value) == (
            f"line 3 of the list '@list' has more than 4,096 bytes, which is too long for a path ({'d' * 60}…): its "
            "entries are separated by newlines, or with -0 by NUL bytes"
        )


def test_a_list_with_the_other_separator_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list").write_bytes(b"a.png\0b.png\0")
    assert refused("@list") == (
        "the list '@list' holds NUL bytes: its entries are separated by newlines, or with -0 by NUL bytes"
    )
    Path("endless").write_bytes(b"a.png\n" * 400_000)
    with pytest.raises(SourceError) as error:
        expand(["@endless"], Root("/"), null_separated=True)
    beginning = r"a.png\n" * 10
    assert str(error.value) == (
        "entry 1 of the list '@endless' has more than 4,096 bytes, which is too long for a path "
        f"({beginning}…): its entries are separated by newlines, or with -0 by NUL bytes"
    )


def test_a_file_whose_name_begins_with_an_at_sign_is_a_file(folder: Path) -> None:
    touch("@a.png")
    assert shown("@a.png") == ["@a.png"]


def test_the_references_of_a_list_share_their_beginnings(folder: Path) -> None:
    Path("list").write_text("a/1.png\nb/2.png\n./a/3.png\n")
    beginnings = [(reference.shown, reference.root) for reference in expand(["@list"], Root("/"))]
    assert beginnings[0] == beginnings[1] == ("", f"{folder}/"[1:])
    assert pairs(expand(["@list"], Root("/")))[2] == ("./a/3.png", f"{folder}/a/3.png"[1:])


# The image root


def test_references_are_relative_to_the_root(folder: Path) -> None:
    touch("in/a.png", "in/sub/b.png")
    assert pairs(expand(["in"], Root(str(folder)))) == [("in/a.png", "in/a.png"), ("in/sub/b.png", "in/sub/b.png")]
    assert pairs(expand(["in"], Root(f"{folder}/in"))) == [("in/a.png", "a.png"), ("in/sub/b.png", "sub/b.png")]
    assert pairs(expand(["in/*"], Root(f"{folder}/in/"))) == [("in/a.png", "a.png"), ("in/sub/b.png", "sub/b.png")]
    assert pairs(expand(["in/sub/b.png"], Root(f"{folder}/in"))) == [("in/sub/b.png", "sub/b.png")]


def test_a_source_outside_the_root_is_refused_with_how_to_set_it(folder: Path) -> None:
    touch("in/a.png", "out/b.png")
    for source in ("out", "out/b.png", "in/../out", "out/*", ".", f"{folder}/in2/../out"):
        (folder / "in2").mkdir(exist_ok=True)
        assert refused(source, root=f"{folder}/in").endswith(
            f" lies outside the image root '{folder}/in': set PIGEONHOLE_IMAGE_ROOT to a folder that contains it, here "
            "and for the workers (as it is mounted there)"
        )
    assert refused("out", root=f"{folder}/in").startswith("'out' lies")


def test_what_is_listed_outside_the_root_stays_absolute_for_the_worker_to_refuse(folder: Path) -> None:
    touch("in/a.png", "out/b.png")
    Path("list").write_text("in/a.png\nout/b.png\nin/../out/b.png\n/etc/passwd\n")
    assert pairs(expand(["@list"], Root(f"{folder}/in"))) == [
        ("in/a.png", "a.png"),
        ("out/b.png", f"{folder}/out/b.png"),
        ("in/../out/b.png", f"{folder}/out/b.png"),
        ("/etc/passwd", "/etc/passwd"),
    ]


def test_a_root_whose_name_begins_like_the_folder_s_does_not_hold_it(folder: Path) -> None:
    touch("in2/a.png", "in/b.png")
    assert " lies outside " in refused("in2", root=f"{folder}/in")


def test_a_root_that_is_a_link_holds_what_it_leads_to(folder: Path) -> None:
    touch("real/in/a.png")
    (folder / "link").symlink_to("real")
    for root in (f"{folder}/link", f"{folder}/real"):
        for source in ("real/in", "link/in", "link/in/*", "real/in/a.png", "link/../real/in"):
            assert [rooted for _, rooted in pairs(expand([source], Root(root)))] == ["in/a.png"]


def test_a_link_from_outside_into_the_root_is_taken_for_what_it_leads_to(folder: Path) -> None:
    touch("root/in/a.png")
    (folder / "photos").symlink_to("root/in")
    (folder / "one.png").symlink_to("root/in/a.png")
    for source, path in {"photos": "photos/a.png", "photos/": "photos/a.png", "one.png": "one.png"}.items():
        assert pairs(expand([source], Root(f"{folder}/root"))) == [(path, "in/a.png")]


def test_a_link_inside_the_root_keeps_its_name_wherever_it_leads(folder: Path) -> None:
    touch("root/in/a.png", "out/b.png")
    (folder / "root/link").symlink_to("in")
    (folder / "root/lost").symlink_to("../out")
    assert pairs(expand(["root/link"], Root(f"{folder}/root"))) == [("root/link/a.png", "link/a.png")]
    # The worker decides, since the root may be mounted elsewhere on its side.
    assert pairs(expand(["root/lost"], Root(f"{folder}/root"))) == [("root/lost/b.png", "lost/b.png")]


def test_dots_after_a_link_lead_to_where_the_link_does(folder: Path) -> None:
    touch("real/deep/x.png", "real/a.png", "a.png")
    (folder / "link").symlink_to("real/deep")
    assert pairs(expand(["link/../a.png"], Root("/"))) == [("link/../a.png", f"{folder}/real/a.png"[1:])]
    assert pairs(expand(["link/../a*.png"], Root("/"))) == [("link/../a.png", f"{folder}/real/a.png"[1:])]
    assert pairs(expand(["link/.."], Root("/")))[0] == ("link/../a.png", f"{folder}/real/a.png"[1:])


# Memory and laziness


def test_windows_of_a_large_folder_are_each_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "WINDOW", 7)
    touch(*(f"in/{number:03}.png" for number in range(50)), *(f"in/d{number:03}/x.png" for number in range(50)))
    found = shown("in")
    assert len(found) == len(set(found)) == 100
    sizes = [len(window) for window in folders.windows("in")]
    assert sizes == [7] * 14 + [2]
    for window in folders.windows("in"):
        assert [entry.name for entry in window] == sorted(entry.name for entry in window)
    assert sorted(shown("in/**/*.png")) == sorted(found)


def test_a_full_last_window_is_followed_by_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "WINDOW", 5)
    touch(*(f"in/{number}.png" for number in range(5)))
    assert len(shown("in")) == 5


def test_nothing_is_looked_at_before_it_is_asked_for(folder: Path) -> None:
    touch("in/a.png", "in/b/c.png")
    references = expand(["in"], Root("/"))
    touch("in/b/d.png")
    assert len(list(references)) == 3


def test_memory_does_not_grow_with_the_number_of_images(folder: Path) -> None:
    def peak(count: int) -> int:
        Path("list").write_text("".join(f"photos/{number:09}.png\n" for number in range(count)))
        tracemalloc.start()
        assert sum(1 for _ in expand(["@list"], Root("/"))) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # 45,000 references would take ten times that; other threads of these tests may use memory, too.
    assert peak(50_000) < peak(5_000) + 1_000_000


def test_memory_does_not_grow_with_the_number_of_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "WINDOW", 100)

    def peak(count: int) -> int:
        for number in range(count):
            os.mkdir(f"in/{number}")
            os.symlink("nowhere", f"in/{number}/a.png")
        tracemalloc.start()
        assert sum(1 for _ in expand(["in"], Root("/"))) >= count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        shutil.rmtree("in")
        os.mkdir("in")
        return most

    os.mkdir("in")
    # 2,700 folders would take 550,000 more; other threads of these tests may use memory, too.
    assert peak(3_000) < peak(300) + 275_000


@pytest.mark.parametrize(
    "source",
    ["photos/*", "photos/**", "photos/**/*.png", "*", "phot*/*", "photos", "linked/*", "@list", "absolute/*"],
)
def test_what_lies_in_the_folder_that_is_sorted_into_is_left_out(folder: Path, source: str) -> None:
    touch("photos/a.png", "photos/sorted/7/a.png", "photos/sorted/_review/3/b.png", "photos/sorted.png")
    Path("linked").symlink_to("photos")
    Path("photos/way").symlink_to("sorted")
    Path("list").write_text("photos/sorted/7/a.png\nphotos/a.png\nphotos/way/7/a.png\nphotos/sorted.png\n")
    said: list[str] = []
    absolute = source.startswith("absolute")
    named = source.replace("absolute", str(folder / "photos"))
    sources = [named] if source != "*" else ["photos*"]
    found = list(expand(sources, Root("/"), sort_into="photos/sorted", warn=said.append))
    top = f"{folder}/photos/" if absolute else "linked/" if source == "linked/*" else "photos/"
    assert sorted({reference.shown + reference.path for reference in found}) == [f"{top}a.png", f"{top}sorted.png"]
    (message,) = said
    assert message.endswith("other files in 'photos/sorted' are left out, since images are sorted into it")


def test_a_folder_that_is_sorted_into_and_holds_nothing_leaves_nothing_out(folder: Path) -> None:
    touch("photos/a.png")
    said: list[str] = []
    for where in ("photos/sorted", "elsewhere"):
        assert len(list(expand(["photos/*"], Root("/"), sort_into=where, warn=said.append))) == 1
    assert said == []
