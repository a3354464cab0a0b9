"""Large folders and lists are read lazily, in bounded memory."""

import os
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from pigeonhole.sources import folders
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from tests.sources.conftest import shown, touch


def test_a_tree_deeper_than_the_python_stack_is_listed_completely(folder: Path) -> None:
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


def test_each_window_of_a_large_folder_is_sorted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "WINDOW", 7)
    touch(*(f"in/{number:03}.png" for number in range(50)), *(f"in/d{number:03}/x.png" for number in range(50)))
    found = shown("in")
    assert len(found) == len(set(found)) == 100
    sizes = [len(window) for window in folders.windows("in")]
    assert sizes == [7] * 14 + [2]
    for window in folders.windows("in"):
        assert [entry.name for entry in window] == sorted(entry.name for entry in window)
    assert sorted(shown("in/**/*.png")) == sorted(found)


def test_a_full_last_window_is_not_followed_by_an_empty_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "WINDOW", 5)
    touch(*(f"in/{number}.png" for number in range(5)))
    assert len(shown("in")) == 5


def test_folders_are_read_only_when_their_images_are_requested(folder: Path) -> None:
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
