"""Skipped files, whose extensions are not those of images."""

import zipfile
from pathlib import Path

import pytest

from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from pigeonhole.sources.skipped import Skipped


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_skipped_files_are_counted_by_extension_and_recursively(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.png", "in/notes.txt", "in/b/README", "in/b/more.TXT", "in/.hidden", "in/.git/config.ini")
    skipped = Skipped()
    assert len(list(expand([str(tmp_path / "in")], Root("/"), skipped=skipped))) == 1
    assert skipped == {".txt": 2, "": 1}
    assert skipped.text() == "3 files skipped (2 .txt, 1 without extension)"


def test_skipped_members_of_archives_are_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("in/a.png", "in/b.txt", "in/.hidden.txt"):
            archive.writestr(name, "x")
    skipped = Skipped()
    assert len(list(expand([str(tmp_path / "a.zip")], Root("/"), skipped=skipped))) == 1
    assert skipped == {".txt": 1}


def test_a_file_that_is_a_source_a_match_or_listed_is_never_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "a.txt", "b.doc", "c.odt")
    (tmp_path / "list").write_text("c.odt\n")
    skipped = Skipped()
    assert len(list(expand(["a.txt", "*.doc", "@list"], Root("/"), skipped=skipped))) == 3
    assert skipped.text() == ""


def test_the_message_names_five_extensions_and_counts_the_others(tmp_path: Path) -> None:
    skipped = Skipped()
    for number in range(1, 8):
        for _ in range(number):
            skipped.add(f"x.e{number}")
    assert skipped.text() == "28 files skipped (7 .e7, 6 .e6, 5 .e5, 4 .e4, 3 .e3, 3 others)"


def test_any_number_of_extensions_takes_bounded_memory() -> None:
    skipped = Skipped()
    for number in range(10_000):
        skipped.add(f"frame.{number:06}")
    skipped.add("odd.not an extension")
    assert len(skipped) <= 101
    assert skipped.total() == 10_001
