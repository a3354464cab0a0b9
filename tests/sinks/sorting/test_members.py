"""Members of archives are copied into the folder of their label."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from pigeonhole.sinks.folders.sorting import Sorter
from tests.messages import check_message
from tests.packing import KINDS, pack
from tests.sinks.sorting.sorted_folder import digest, errors, found, origins, row, sort

HOSTILE = ["../../up.png", "/abs/a.png", "..", "d//a.png", "d/./a.png", "l" * 300 + ".png", "a." + "x" * 300, "a.png"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("done", [0, 3])
def test_archive_members_with_any_names_are_copied(kind: str, done: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
    report = sort(*reversed(rows), method="hard")
    assert sorted(found().values()) == sorted(HOSTILE)
    assert all(Path("out", path).parent == Path("out/7") and not Path("out", path).is_symlink() for path in found())
    assert not Path("out/_errors.csv").exists(), report
    assert sort(*rows) == f"0 images sorted into 'out' ({len(rows)} already there)"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", KINDS)
def test_archive_members_with_the_same_name_are_sorted_by_their_own_labels(kind: str) -> None:
    content = [("a.png", b"first"), ("b.png", b"b"), ("a.png", b"second"), ("a.png", b"third")]
    pack(Path(f"x.{kind}"), content)
    path = f"x.{kind}::a.png"
    rows = [row(path, "7"), row(f"x.{kind}::b.png"), row(path, "3"), row(path, "7")]
    sort(*rows)
    third = f"7/a-{digest(path + chr(0) + '2')}.png"
    sorted_once = {"7/a.png": "first", "7/b.png": "b", "3/a.png": "second", third: "third"}
    assert found() == sorted_once
    pack(Path(f"x.{kind}"), [("new.txt", b"packed again"), *content])
    assert sort(*rows) == "0 images sorted into 'out' (4 already there)"
    rows[0] = row(path, error="truncated: x")
    sort(*rows)
    assert found() == sorted_once, "a copy stays: it has the bytes that were classified"
    assert errors() == f"path,error\n{path},truncated: x\n"


def test_an_archive_member_that_is_listed_twice_is_sorted_once() -> None:
    pack(Path("x.tar"), [("a.png", b"a")])
    assert sort(row("x.tar::a.png"), row("x.tar::a.png")) == "1 image sorted into 'out'"
    assert found() == {"7/a.png": "a"}


def test_an_archive_member_that_can_not_be_read_is_listed() -> None:
    pack(Path("x.tar"), [("a.png", b"a")])
    Path("broken.zip").write_bytes(b"PK")
    pack(Path("locked.zip"), [("a.png", b"a")])
    locked = bytearray(Path("locked.zip").read_bytes())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # as if it were encrypted
        locked[locked.index(header) + flags] |= 1
    Path("locked.zip").write_bytes(locked)
    sort(*(row(f"{name}.png") for name in ("x.tar::a", "broken.zip::a", "locked.zip::a", "gone.zip::a")))
    assert found() == {"7/a.png": "a"}
    broken_line, locked_line, gone_line = errors().splitlines()[1:]
    check_message(broken_line, "broken.zip::a.png", "not-sorted: ", "cut off")
    check_message(locked_line, "locked.zip::a.png", "not-sorted: ", "encrypted", "without a password")
    check_message(gone_line, "gone.zip::a.png", "not-here: ")
