"""Globs, and images that overlapping globs match once: examples, and random trees and sources."""

import glob
import os
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pigeonhole.errors import SourceError
from pigeonhole.sources.expand import expand
from pigeonhole.sources.folders import EXTENSIONS
from pigeonhole.sources.reference import Root
from tests.sources.conftest import pairs, shown, touch


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*.png", ["in/a.png", "in/b.png"]),
        ("in/?.png", ["in/a.png", "in/b.png"]),
        ("in/[ac].png", ["in/a.png"]),
        ("in/[!a].png", ["in/b.png"]),
        ("./in/*.png", ["./in/a.png", "./in/b.png"]),
        ("in//*.png", ["in//a.png", "in//b.png"]),
        ("*/a.png", ["in/a.png"]),
        ("in/*/c.png", ["in/sub/c.png"]),
        ("in/*", ["in/a.png", "in/b.png", "in/n.txt", "in/sub/c.png", "in/sub/deep/d.png"]),
        ("in/*/", ["in/sub/c.png", "in/sub/deep/d.png"]),
        ("in/**/*.png", ["in/a.png", "in/b.png", "in/sub/c.png", "in/sub/deep/d.png"]),
        ("**/d.png", ["in/sub/deep/d.png"]),
        ("**/deep/*", ["in/sub/deep/d.png"]),
        ("in/**", ["in/a.png", "in/b.png", "in/n.txt", "in/sub/c.png", "in/sub/deep/d.png"]),
        ("**/", ["in/a.png", "in/b.png", "in/sub/c.png", "in/sub/deep/d.png"]),
        ("**/deep", ["in/sub/deep/d.png"]),
        ("**/s*", ["in/sub/c.png", "in/sub/deep/d.png"]),
        ("in/**/**/*.png", ["in/a.png", "in/b.png", "in/sub/c.png", "in/sub/deep/d.png"]),
        ("in/.*.png", ["in/.hidden.png"]),
        ("in/*/../a.png", ["in/sub/../a.png"]),
        ("in/./*.txt", ["in/./n.txt"]),
        ("in/su[b]/c.png", ["in/sub/c.png"]),
    ],
)
def test_a_glob_lists_its_matches_with_the_prefix_as_typed(folder: Path, pattern: str, found: list[str]) -> None:
    touch("in/a.png", "in/b.png", "in/n.txt", "in/sub/c.png", "in/sub/deep/d.png", "in/.hidden.png", "in/.h/e.png")
    assert shown(pattern) == found


def test_an_absolute_glob_lists_absolute_paths(folder: Path) -> None:
    touch("in/a.png")
    assert shown(f"{folder}/*/*.png") == [f"{folder}/in/a.png"]


def test_a_path_that_a_glob_matches_repeatedly_is_listed_once(folder: Path) -> None:
    touch("a/a/a/x.png")
    assert shown("**/a/**/x.png") == ["a/a/a/x.png"]


def test_brackets_in_existing_names_are_no_pattern(folder: Path) -> None:
    touch("in[1]/a[2].png", "in[1]/b.png", "in1/c.png", "*.png")
    assert shown("in[1]/a[2].png") == ["in[1]/a[2].png"]
    assert shown("in[1]") == ["in[1]/a[2].png", "in[1]/b.png"]
    assert shown("in[1]/*.png") == ["in[1]/a[2].png", "in[1]/b.png"]
    assert shown("*.png") == ["*.png"]
    with pytest.raises(SourceError, match=r"'in\[1\]/no-such.png': No such file or directory$"):
        expand(["in[1]/no-such.png"], Root("/"))


def test_two_stars_do_not_follow_links_and_one_star_does(folder: Path) -> None:
    touch("real/a.png", "in/b.png")
    (folder / "in/link").symlink_to("../real")
    assert shown("in/**/*.png") == ["in/b.png"]
    assert shown("in/*/*.png") == ["in/link/a.png"]
    assert shown("in/**/*.png", "in/*/*.png") == ["in/b.png", "in/link/a.png"]


def test_a_glob_that_matches_only_images_of_other_sources_is_no_error(folder: Path) -> None:
    touch("in/a.png", "in/sub/b.png")
    assert shown("in", "in/*.png") == ["in/a.png", "in/sub/b.png"]
    assert shown("in/*.png", "in") == ["in/a.png", "in/sub/b.png"]
    assert shown("in/sub/*.png", "in") == ["in/sub/b.png", "in/a.png"]
    assert shown("in/a.png", "in/*.png") == ["in/a.png"]
    assert shown("in/sub", "in/*") == ["in/sub/b.png", "in/a.png"]


def test_a_matched_folder_lists_its_images_once(folder: Path) -> None:
    touch("in/sub/a.png", "in/sub/deep/b.png", "in/sub/n.txt")
    everything = ["in/sub/a.png", "in/sub/deep/b.png"]
    for sources in (
        ["in/*", "in/sub/*.png"],
        ["in/*", "in/sub/a.png"],
        ["in/*", "in/sub/deep"],
        ["in/*", "in/su*"],
        ["in/*", "in/**/*.png"],
        ["in/**/*.png", "in/*"],
        ["in/sub/*.png", "in/*"],
    ):
        assert sorted(shown(*sources)) == everything
    assert shown("in/*", "in/sub/n*") == [*everything, "in/sub/n.txt"]


def test_a_hidden_file_is_listed_only_by_a_glob_that_names_it(folder: Path) -> None:
    touch("in/a.png", "in/.b.png", "in/.c/d.png")
    assert shown("in/*.png", "in/.*.png") == ["in/a.png", "in/.b.png"]
    assert shown("in/**/*.png", "in/.c/*.png") == ["in/a.png", "in/.c/d.png"]


# Random trees and sources

_FOLDERS = st.sampled_from(["a", "b", ".h", "[ab]", "x.png"])
_FILES = st.sampled_from(["1.png", "2.PNG", "n.txt", ".h.png", "[1].png", "a"])
_trees = st.lists(
    st.builds(lambda above, name: "/".join([*above, name]), st.lists(_FOLDERS, max_size=3), _FILES),
    min_size=1,
    max_size=8,
)
_parts = st.sampled_from(["a", "b", "*", "**", "?", "[ab]", "*.png", "*.*", ".h", ".*", "1.png", "n*", "x.png"])
_sources = st.builds(
    lambda before, parts, after: before + "/".join(parts) + after,
    st.sampled_from(["", "./", "a/../", "TOP/"]),
    st.lists(_parts, min_size=1, max_size=4),
    st.sampled_from(["", "", "", "/"]),
)


def _make(tree: list[str]) -> None:
    for path in tree:
        try:
            touch(path)
        except OSError:
            continue  # a file and a folder have the same name


def _walked(folder: str) -> Iterator[str]:
    for above, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.rpartition(".")[2].lower() in EXTENSIONS:
                yield os.path.join(above, name)


def _expected(source: str) -> set[str]:
    """Return the real paths of a source's images, according to the standard library."""
    if os.path.isdir(source):
        found = set(_walked(source))
    elif os.path.exists(source):
        found = {source}
    else:
        # It calls a file a folder in `file/**`, and forgets the current folder in `**/`.
        paths = glob.glob(os.path.join(os.getcwd(), source), recursive=True)
        matched = {path for path in paths if os.path.isdir(path) or path[-1] != "/"}
        found = {path for path in matched if not os.path.isdir(path)}
        found |= {inner for path in matched if os.path.isdir(path) for inner in _walked(path)}
    return {os.path.realpath(path) for path in found}


@settings(max_examples=200, deadline=None)
@given(_trees, st.lists(_sources, min_size=1, max_size=4))
def test_random_sources_list_the_images_of_each_and_every_image_once(tree: list[str], sources: list[str]) -> None:
    with TemporaryDirectory() as top, chdir(top):
        _make(tree)
        sources = [source.replace("TOP", top) for source in sources]
        usable = []
        for source in sources:
            try:
                expand([source], Root("/"))
                usable.append(source)
            except SourceError:
                assert _expected(source) == set() or "[ab]" in source
        listed = pairs(expand(usable, Root(top)))
        rooted = [os.path.join(top, path) for _, path in listed]
        assert [os.path.realpath(path) for path, _ in listed] == [os.path.realpath(path) for path in rooted]
        assert len(set(rooted)) == len(rooted)
        if not any("[ab]" in source for source in usable):  # a literal name in one place and a pattern in the other
            alone = set().union(*(_expected(source) for source in usable))
            assert {os.path.realpath(path) for path in rooted} == alone
        firsts = dict[str, str]()  # each image belongs to the first SOURCE that names it, in any spelling
        for source in usable:
            for path, below in pairs(expand([source], Root(top))):
                firsts.setdefault(below, path)
        assert {below: path for path, below in listed} == firsts
