"""Folders that images can not be sorted into, and images that can not be sorted."""

import errno
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
import typer

from pigeonhole.errors import ExitCode, OutputFailed, UsageError
from pigeonhole.ledger.done import Origin
from pigeonhole.sinks.folders.sorting import Sorter
from pigeonhole.sources.reference import Location
from producer.arguments.options import Links
from producer.arguments.outputs import sorting
from tests.messages import check_message
from tests.sinks.sorting.sorted_folder import errors, found, images, origins, row, sort


def test_an_impossible_link_is_listed_and_a_full_disk_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    images("in/a.png", "in/b.png")

    def failing(number: int) -> object:
        def link(source: str, at: str) -> None:
            raise OSError(number, os.strerror(number))

        return link

    with closing(Sorter("out", "hard")) as sorter, monkeypatch.context() as patched:
        patched.setattr(os, "link", failing(errno.EXDEV))
        rows = [row("in/a.png", review=True)]
        sorter.write(rows, origins(rows))
        sorter.finish()
        assert sorter.failed == 1
    check_message(errors(), "in/a.png,not-sorted: ", "--copy\n")
    with closing(Sorter("out", "hard")) as sorter, monkeypatch.context() as patched:
        patched.setattr(os, "link", failing(errno.ENOSPC))
        rows = [row("in/b.png")]
        sorter.write(rows, origins(rows))
        with pytest.raises(OutputFailed, match=r"'out': No space left on device.* run the same"):
            sorter.finish()
    sort(row("in/a.png"), row("in/b.png"))
    assert sorted(found().values()) == ["in/a.png", "in/b.png"]


def test_a_record_of_another_version_is_refused() -> None:
    sort()
    with closing(sqlite3.connect("out/_sorted.db")) as record:
        record.execute("PRAGMA user_version = 1")
    with pytest.raises(OutputFailed, match=r"_sorted.db' .*another version.* choose another DIR"):
        Sorter("out")


def test_an_image_of_a_source_without_files_is_listed() -> None:
    sort(row("checker:5/0.png"), read=[Origin(Location("checker", "", "0.png", (1,)), 1)])
    check_message(errors(), "path,error\nchecker:5/0.png,not-here: ")


@pytest.mark.parametrize("name", ["_errors.csv", "_sorted.db"])
def test_a_folder_with_a_foreign_file_of_a_reserved_name_is_refused(name: str) -> None:
    images(f"out/{name}")
    with pytest.raises((UsageError, OutputFailed), match=r"'out'"):
        Sorter("out")
    assert Path("out", name).read_text() == f"out/{name}"


def test_a_folder_that_another_command_is_sorting_into_is_refused() -> None:
    with closing(Sorter("out")), pytest.raises(OutputFailed, match=r"'out': another command"):
        Sorter("out")
    Sorter("out").close()


def test_a_file_in_place_of_the_folder_is_refused() -> None:
    images("out")
    with pytest.raises(UsageError, match=r"'out' is a file.* choose another DIR"):
        Sorter("out")


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_hard_links_to_another_file_system_are_refused_at_once(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere).st_dev != os.stat(tmp_path).st_dev
        with (
            pytest.raises(UsageError, match=r"file systems.*--copy"),
            sorting("out/new", Links.hard, False, True, [elsewhere]),
        ):
            pass
    assert not list(Path("out/new").glob("[!_]*"))


def test_a_command_that_can_not_sort_an_image_exits_as_with_error_rows() -> None:
    def command() -> None:
        with sorting("out", None, False, True, []) as sorter:
            assert sorter is not None
            sorter.write([row("gone.png")], origins([row("gone.png")]))
            sorter.finish()

    with pytest.raises(typer.Exit) as exited:
        command()
    assert exited.value.exit_code == ExitCode.ERROR_ROWS
