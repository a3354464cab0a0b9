"""Files, folders and links as SOURCEs: their images, in order, each once."""

import os
from itertools import permutations
from pathlib import Path

import pytest

from pigeonhole.sources.expand import expand
from pigeonhole.sources.folders import EXTENSIONS
from pigeonhole.sources.reference import Root
from tests.sources.conftest import pairs, shown, touch


def test_a_file_with_any_name_is_a_source(folder: Path) -> None:
    touch("a.png", "notes", "b.xyz", ".hidden")
    assert shown("a.png", "./notes", str(folder / "b.xyz"), ".hidden") == [
        "a.png",
        "./notes",
        f"{folder}/b.xyz",
        ".hidden",
    ]


def test_a_reference_has_the_size_of_its_file(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"12345")
    for source in ("a.png", ".", "*.png"):
        assert [reference.size for reference in expand([source], Root("/"))] == [5]


def test_a_folder_lists_its_images_by_extension_and_recursively(folder: Path) -> None:
    touch("in/b.PNG", "in/a.jpg", "in/notes.txt", "in/png", "in/x.png.bak", "in/sub/deep/c.TiFf", "in/sub/.d.png")
    assert shown("in") == ["in/a.jpg", "in/b.PNG", "in/sub/deep/c.TiFf"]


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_every_known_extension_is_found(folder: Path, extension: str) -> None:
    touch(f"in/a.{extension}", f"in/b.{extension.upper()}")
    assert shown("in") == [f"in/a.{extension}", f"in/b.{extension.upper()}"]


def test_hidden_files_and_folders_are_left_out_unless_they_are_sources(folder: Path) -> None:
    touch("in/.a.png", "in/.git/b.png", "in/c.png")
    assert shown("in") == ["in/c.png"]
    assert shown("in/.git", "in") == ["in/.git/b.png", "in/c.png"]
    assert shown("in", "in/.a.png", "in/.git/b.png") == ["in/c.png", "in/.a.png", "in/.git/b.png"]


@pytest.mark.parametrize(
    ("source", "beginning"),
    [("in", "in/"), ("in/", "in/"), ("./in", "./in/"), ("in/.", "in/./"), ("in/../in", "in/../in/"), ("in//", "in//")],
)
def test_the_shown_path_of_a_file_begins_with_the_folder_as_typed(folder: Path, source: str, beginning: str) -> None:
    touch("in/a.png", "in/sub/b.png")
    assert pairs(expand([source], Root("/"))) == [
        (f"{beginning}a.png", f"{folder}/in/a.png"[1:]),
        (f"{beginning}sub/b.png", f"{folder}/in/sub/b.png"[1:]),
    ]


def test_the_current_folder_and_its_parent_can_be_sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.png")
    assert shown(".") == ["./in/a.png"]
    monkeypatch.chdir("in")
    assert shown(".") == ["./a.png"]
    assert shown("..") == ["../in/a.png"]
    assert pairs(expand(["../in/a.png"], Root("/"))) == [("../in/a.png", f"{folder}/in/a.png"[1:])]


def test_two_slashes_before_an_absolute_path_count_as_one(folder: Path) -> None:
    touch("in/a.png")
    for source in (f"/{folder}/in", f"//{folder}/in"):
        assert pairs(expand([source], Root("/"))) == [(f"{source}/a.png", f"{folder}/in/a.png"[1:])]


ODD = [b"caf\xe9.png", b"new\nline.png", b"a,b.png", b'qu"ote.png', b"-rf.png", b" .png", b"tab\t.png", b"\\.png"]


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_bytes_are_listed_unchanged(folder: Path, name: bytes) -> None:
    touch(b"in/" + name)
    assert [os.fsencode(path) for path in shown("in")] == [b"in/" + name]
    assert [os.fsencode(path) for path in shown(os.fsdecode(b"in/" + name))] == [b"in/" + name]
    assert [os.fsencode(path) for path in shown("in/*.png")] == [b"in/" + name]
    Path("list").write_bytes(b"in/" + name + b"\0")
    assert [os.fsencode(path) for path in shown("@list", null_separated=True)] == [b"in/" + name]


def test_files_come_before_folders_and_both_are_sorted_by_name(folder: Path) -> None:
    touch("in/a/z.png", "in/b.png", "in/c/y.png", "in/d.png", "in/a/b/x.png")
    assert shown("in") == ["in/b.png", "in/d.png", "in/a/z.png", "in/a/b/x.png", "in/c/y.png"]


def test_links_are_followed_and_shown_under_their_own_name(folder: Path) -> None:
    touch("elsewhere/a.png", "elsewhere/sub/b.png", "in/own.png")
    (folder / "in/link").symlink_to("../elsewhere")
    (folder / "in/file.png").symlink_to("../elsewhere/a.png")
    assert shown("in") == ["in/file.png", "in/own.png", "in/link/a.png", "in/link/sub/b.png"]
    assert shown("in/link") == ["in/link/a.png", "in/link/sub/b.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "loop", "other"])
def test_circular_links_are_followed_only_once(folder: Path, target: str) -> None:
    touch("in/sub/a.png")
    (folder / "in/sub/loop").symlink_to(target)
    (folder / "in/sub/other").symlink_to("loop")
    found = shown("in")
    assert found[0] == "in/sub/a.png"
    assert len(found) < 5
    assert shown("**/a.png") == ["in/sub/a.png"]


def test_broken_links_with_an_image_extension_are_listed(folder: Path) -> None:
    touch("in/file")
    for name, target in {"gone.png": "no-such", "below.png": "file/x", "long.png": "x" * 300, "gone": "no"}.items():
        (folder / "in" / name).symlink_to(target)
    assert shown("in") == ["in/below.png", "in/gone.png", "in/long.png"]


def test_a_folder_with_an_image_extension_is_a_folder(folder: Path) -> None:
    touch("in/x.png/a.png")
    assert shown("in") == ["in/x.png/a.png"]


@pytest.mark.parametrize("order", list(permutations(["in", "in/sub", "in/sub/a.png", "in/b.png"])))
def test_an_image_of_several_sources_belongs_to_the_first_one(folder: Path, order: tuple[str, ...]) -> None:
    touch("in/sub/a.png", "in/b.png", "in/sub/deep/c.png")
    # The references of each SOURCE alone, without those of earlier SOURCEs.
    assert shown(*order) == [*dict.fromkeys(path for source in order for path in shown(source))]


def test_a_source_that_is_repeated_in_another_spelling_is_listed_once(folder: Path) -> None:
    touch("in/a.png", "notes")
    assert shown("in", "in", "./in", "in/", f"{folder}/in", "in/../in") == ["in/a.png"]
    assert shown("notes", "./notes", "in/../notes") == ["notes"]
    assert shown("in/*", "./in/*", "in/*") == ["in/a.png"]


def test_a_folder_whose_name_is_a_prefix_does_not_contain_the_other(folder: Path) -> None:
    touch("in/a.png", "in2/b.png")
    assert shown("in", "in2", "in2/b.png") == ["in/a.png", "in2/b.png"]
