"""Sorting again: after other labels, after a killed run, and after a user moved files."""

import errno
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pigeonhole.sinks.folders.sorting import Sorter
from pigeonhole.text import counted
from tests.messages import check_message
from tests.sinks.sorting.sorted_folder import METHODS, Method, errors, found, images, origins, row, sort


@METHODS
def test_an_image_is_sorted_once_and_stays_where_the_user_moved_it(method: Method) -> None:
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
def test_an_image_with_a_new_label_leaves_its_old_folder(method: Method) -> None:
    images("in/a.png", "in/b.png")
    sort(row("in/a.png"), row("in/b.png"), method=method)
    assert sort(row("in/a.png", "3"), row("in/b.png"), method=method) == "1 image sorted into 'out' (1 already there)"
    assert found() == {"3/a.png": "in/a.png", "7/b.png": "in/b.png"}


@METHODS
def test_a_changed_file_is_removed_from_the_folder_of_its_old_label(method: Method) -> None:
    images("in/a.png", "in/b.png")
    sort(row("in/a.png"), row("in/b.png"), method=method)
    Path("in/a.png").write_bytes(b"a three")
    Path("in/b.png").write_bytes(b"no image")
    sort(row("in/a.png", "3"), row("in/b.png", error="not-an-image: no"), method=method)
    copies = {"7/a.png": "in/a.png", "7/b.png": "in/b.png"} if method == "copy" else {}
    assert found() == {"3/a.png": "a three", **copies}, "a copy has the bytes that were classified"


def test_no_image_is_sorted_before_the_rows_are_complete() -> None:
    images("in/a.png", "in/b.png")
    with closing(Sorter("out")) as sorter:
        rows = [row("in/a.png", "1"), row("in/b.png")]
        sorter.write(rows, origins(rows))
    assert found() == {}
    sort(row("in/a.png", "3"))
    assert found() == {"3/a.png": "in/a.png"}, "only the rows of this run count"


def test_an_image_that_is_sorted_later_is_removed_from_the_list_of_errors() -> None:
    images("in/a.png")
    sort(row("in/a.png", error="crashed: twice"), row("gone.png"))
    check_message(errors(), "path,error\nin/a.png,crashed: twice\ngone.png,not-here: ")
    images("gone.png")
    sort(row("in/a.png"), row("gone.png"))
    assert found() == {"7/a.png": "in/a.png", "7/gone.png": "gone.png"}
    assert not Path("out/_errors.csv").exists()


@METHODS
@pytest.mark.parametrize("sorted_before", [0, 1, 2])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("label", ["7", "3"])
def test_a_killed_pass_is_completed_by_the_next_one(
    method: Method, sorted_before: int, linked: bool, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("a/x.png", "b/x.png", "c/x.png")
    rows = [row("a/x.png"), row("b/x.png"), row("c/x.png")]
    read = origins(rows)
    with closing(Sorter("out", method)) as sorter:

        def killing(system: Callable[..., None]) -> Callable[..., None]:
            def call(*names: str) -> None:
                if len(found()) < sorted_before:
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
    assert len(found()) == sorted_before + linked
    rows[sorted_before] = rows[sorted_before]._replace(label=label)
    assert sort(*rows, method=method, read=read) == f"{counted(3 - sorted_before, 'image')} sorted into 'out'" + (
        f" ({sorted_before} already there)" if sorted_before else ""
    )
    assert sorted(found().values()) == ["a/x.png", "b/x.png", "c/x.png"]
    assert [path.partition("/")[0] for path, name in found().items() if name == rows[sorted_before].path] == [label]


@pytest.mark.parametrize("renamed", [False, True])
def test_a_killed_copy_on_a_file_system_without_links_is_completed(
    renamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("in/a.png")
    rename = os.rename

    def no_links(source: str, at: str) -> None:
        raise PermissionError(errno.EPERM, "like FAT")

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


def test_hard_links_of_an_earlier_pass_do_not_count_as_changes() -> None:
    images("in/a.png")
    os.link("in/a.png", "in/b.png")
    rows = [row("in/a.png"), row("in/b.png")]
    read = origins(rows)
    assert sort(*rows, method="hard", read=read) == "2 images sorted into 'out'"
    assert sort(*rows, method="hard", read=read) == "0 images sorted into 'out' (2 already there)"
    relabelled = [row("in/a.png", "3"), row("in/b.png")]
    assert sort(*relabelled, method="hard", read=read) == "1 image sorted into 'out' (1 already there)"
    assert found() == {"3/a.png": "in/a.png", "7/b.png": "in/a.png"}
