"""Lists of paths: `@FILE` and standard input."""

import _thread
import os
import threading
from pathlib import Path

import pytest

from pigeonhole.errors import SourceError
from pigeonhole.sources import lists
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from tests.messages import check_message
from tests.sources.conftest import pairs, shown, touch
from tests.sources.refusals import refused


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_a_list_has_a_path_on_each_line(folder: Path, end: bytes) -> None:
    Path("list").write_bytes(b"a.png\n\nb c.png\ncaf\xe9.png" + end)
    assert [os.fsencode(path) for path in shown("@list")] == [b"a.png", b"b c.png", b"caf\xe9.png"]


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_a_list_can_have_windows_line_ends(folder: Path, end: bytes) -> None:
    Path("list").write_bytes(b"\xef\xbb\xbfa.png\r\n\r\nb c.png" + end)
    assert shown("@list") == ["a.png", "b c.png"]
    Path("list").write_bytes(b"a.png\nb\r\n")
    assert shown("@list") == ["a.png", "b\r"], "a name can end with a carriage return if the first line does not"


def test_a_list_can_be_separated_by_nul_bytes(folder: Path) -> None:
    Path("list").write_bytes(b"a\n1.png\0\0b.png\0")
    assert shown("@list", null_separated=True) == ["a\n1.png", "b.png"]


def test_a_keyboard_interrupt_before_a_blocking_read_ends_the_list(folder: Path) -> None:
    os.mkfifo("list")
    reader = lists.entries("@list", null_separated=False)
    writer = os.open("list", os.O_RDWR)  # both ends, so that it stays open
    os.write(writer, b"a.png\n")
    assert next(reader) == "a.png"
    # Like a signal between Python's check for signals and the read; the timer fires while the read blocks.
    blocked = threading.Timer(0.2, _thread.interrupt_main)
    blocked.start()
    with pytest.raises(KeyboardInterrupt):
        next(reader)
    os.close(writer)


def test_a_list_keeps_repeated_and_missing_paths(folder: Path) -> None:
    touch("in/a.png")
    Path("list").write_text("in/a.png\nin/a.png\nno-such\nin\n")
    assert shown("in", "@list") == ["in/a.png", "in/a.png", "in/a.png", "no-such", "in"]


def test_a_list_is_read_from_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_entry_can_span_two_reads(folder: Path) -> None:
    long = "d/" * 2045 + "a.png"
    Path("list").write_text(f"{long}\n" * 50 + "b.png\n")
    assert shown("@list") == [*[long] * 50, "b.png"]


def test_an_entry_that_is_too_long_for_a_path_is_refused_with_its_number(folder: Path) -> None:
    longest = "d" * 4096
    Path("list").write_text(f"a.png\r\n\r\n{longest}\r\n")
    assert shown("@list") == ["a.png", longest]
    for ending in ("\n", "", "x" * 100_000):
        Path("list").write_text(f"a.png\n\n{longest}d{ending}")
        with pytest.raises(SourceError) as error:
            list(expand(["@list"], Root("/")))
        check_message(error.value, "line 3 ", "'@list'", "4,096 bytes", f"({'d' * 60}…)", "-0")


def test_a_list_with_the_wrong_separator_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list").write_bytes(b"a.png\0b.png\0")
    check_message(refused("@list"), "'@list'", "NUL bytes", "-0")
    Path("endless").write_bytes(b"a.png\n" * 400_000)
    with pytest.raises(SourceError) as error:
        expand(["@endless"], Root("/"), null_separated=True)
    beginning = r"a.png\n" * 10
    check_message(error.value, "entry 1 ", "'@endless'", "4,096 bytes", f"({beginning}…)", "-0")


def test_a_file_whose_name_begins_with_an_at_sign_is_a_file(folder: Path) -> None:
    touch("@a.png")
    assert shown("@a.png") == ["@a.png"]


def test_the_references_of_a_list_share_their_prefixes(folder: Path) -> None:
    Path("list").write_text("a/1.png\nb/2.png\n./a/3.png\n")
    beginnings = [(reference.shown, reference.root) for reference in expand(["@list"], Root("/"))]
    assert beginnings[0] == beginnings[1] == ("", f"{folder}/"[1:])
    assert pairs(expand(["@list"], Root("/")))[2] == ("./a/3.png", f"{folder}/a/3.png"[1:])
