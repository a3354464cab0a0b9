"""Files that change after their image was classified are listed, not sorted; no file is overwritten."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pigeonhole.ledger.done import Origin
from pigeonhole.sources.reference import Location
from tests.messages import check_message
from tests.packing import pack
from tests.sinks.sorting.sorted_folder import METHODS, Method, digest, errors, found, images, origins, row, sort


@pytest.mark.parametrize(("method", "links"), [("symbolic", True), ("hard", True), ("copy", True), ("copy", False)])
def test_a_file_that_appears_at_the_last_moment_is_never_overwritten(
    method: Method, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("in/a.png")

    def late(system: Callable[..., None]) -> Callable[..., None]:
        def call(source: str, at: str) -> None:
            if not Path("out/7/a.png").exists():
                images("out/7/a.png")
            if not links and system is link:
                raise PermissionError(errno.EPERM, "like FAT")
            system(source, at)

        return call

    link = os.link
    monkeypatch.setattr(os, "link", late(os.link))
    monkeypatch.setattr(os, "symlink", late(os.symlink))
    sort(row("in/a.png"), method=method)
    assert found() == {"7/a.png": "out/7/a.png", f"7/a-{digest('in/a.png')}.png": "in/a.png"}


@METHODS
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_an_image_whose_file_changed_after_its_classification_is_listed(
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
        assert found() == {"7/a.png": "a seven", "7/b.png": "in/b.png"}, (
            "the sorted file is the one that was classified"
        )
        return
    assert found() == {"7/b.png": "in/b.png"}
    check_message(errors(), f"path,error\n{rows[0].path},not-sorted: ", "changed", "run the same command again")
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
    check_message(errors(), f"{path},not-sorted: ", "changed")


def test_a_file_that_is_replaced_while_it_is_copied_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
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
    check_message(errors(), "in/a.png,not-sorted: ", "changed")


@METHODS
def test_an_image_with_an_unknown_identity_is_listed(method: Method) -> None:
    images("in/a.png")
    sort(row("in/a.png"), method=method, read=[Origin(Location("file", "", "in/a.png"), 0)])
    assert found() == {}
    check_message(errors(), 'in/a.png,"not-sorted: ', "run the same command again")
