import csv
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.filesystem.output_files import descriptor
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.file import File
from pigeonhole.sinks.registry import FORMATS, format_of
from pigeonhole.sinks.sink import Sink, Stream
from pigeonhole.text import printable
from producer.arguments.outputs import row_format
from producer.display.table import TABLE_ROWS, Table
from tests.conftest import ROOT
from tests.sinks.formats import CSV, JSONL

MODEL = "digits@0123456789ab"
HEADER = b"path,label,confidence,unknown,review,error,model\n"
SEVEN = Row("in/7.png", "7", 0.999999, False, "", MODEL, (("7", 0.999999), ("1", 0.000001)), unknown=0.000002)
DOUBTFUL = Row("in/4.png", "4", 0.5, True, "", MODEL, (("4", 0.5),))
MISSING = Row("in/x.png", "", None, False, "missing: no such file", MODEL, ())
ROWS = [SEVEN, DOUBTFUL, MISSING]


def named(name: str | bytes) -> Row:
    return SEVEN._replace(path=os.fsdecode(name))


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(os.fsdecode(data), newline="")))


def written(sink: Sink, *some_at_a_time: list[Row]) -> None:
    for rows in some_at_a_time:
        sink.write(rows)
    sink.finish()


# CSV


def test_csv_has_these_bytes() -> None:
    stream = io.BytesIO()
    written(Stream(stream, CSV), ROWS[:1], ROWS[1:])
    assert stream.getvalue() == (
        b"path,label,confidence,unknown,review,error,model\n"
        b"in/7.png,7,0.999999,2e-06,false,,digits@0123456789ab\n"
        b"in/4.png,4,0.5,,true,,digits@0123456789ab\n"
        b"in/x.png,,,,false,missing: no such file,digits@0123456789ab\n"
    )


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        (b"a,b.png", b'"a,b.png"'),
        (b'a"b.png', b'"a""b.png"'),
        (b'"', b'""""'),
        (b"a\nb.png", b'"a\nb.png"'),
        (b"a\rb.png", b'"a\rb.png"'),
        (b" a .png", b" a .png"),
        (b"caf\xe9.png", b"caf\xe9.png"),
        ("caf\u00e9.png".encode(), "caf\u00e9.png".encode()),
    ],
)
def test_csv_quotes_what_would_be_taken_for_something_else(name: bytes, spelled: bytes) -> None:
    assert CSV.encode([named(name)]) == spelled + b",7,0.999999,2e-06,false,,digits@0123456789ab\n"


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name), min_size=1, max_size=5))
def test_any_names_are_read_back_from_csv_byte_for_byte(names: list[bytes]) -> None:
    data = HEADER + CSV.encode([named(name) for name in names])
    assert [os.fsencode(row["path"]) for row in read_csv(data)] == names


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(texts, texts, texts)
def test_any_labels_errors_and_models_are_read_back_from_csv(label: str, error: str, model: str) -> None:
    row = SEVEN._replace(label=label, error=error, model=model)
    [again] = read_csv(HEADER + CSV.encode([row]))
    assert (again["label"], again["error"], again["model"]) == (label, error, model)


def test_csv_without_rows_is_its_header() -> None:
    stream = io.BytesIO()
    written(Stream(stream, CSV))
    assert stream.getvalue() == HEADER


# JSONL


def test_jsonl_has_the_same_keys_and_the_best_classes() -> None:
    seven, doubtful, missing = (json.loads(line) for line in JSONL.encode(ROWS).splitlines())
    assert list(seven) == ["path", "label", "confidence", "review", "error", "model", "top", "unknown"]
    assert "unknown" not in doubtful, "the model that answered has no output for it"
    assert seven == {
        "path": "in/7.png",
        "label": "7",
        "confidence": 0.999999,
        "review": False,
        "error": "",
        "model": MODEL,
        "top": [{"label": "7", "p": 0.999999}, {"label": "1", "p": 0.000001}],
        "unknown": 0.000002,
    }
    assert doubtful["review"] is True
    assert (missing["label"], missing["confidence"], missing["top"]) == (None, None, [])
    assert missing["error"] == "missing: no such file"


@given(st.binary(max_size=20))
def test_any_name_is_read_back_from_jsonl_as_python_spells_it(name: bytes) -> None:
    line = JSONL.encode([named(name)])
    assert line.count(b"\n") == 1
    line.decode()  # UTF-8
    assert os.fsencode(json.loads(line)["path"]) == name


def test_jsonl_without_rows_is_empty_and_keeps_letters_readable() -> None:
    stream = io.BytesIO()
    written(Stream(stream, JSONL))
    assert stream.getvalue() == b""
    assert "caf\u00e9".encode() in JSONL.encode([named("caf\u00e9")])


# Files


def test_a_file_grows_beside_its_name_in_whole_rows_and_takes_it_in_the_end(tmp_path: Path) -> None:
    path, part = tmp_path / "rows.csv", tmp_path / "rows.csv.part"
    path.write_text("of last time")
    sink = File(str(path), CSV)
    sink.write(ROWS[:1])
    assert part.read_bytes() == HEADER + CSV.encode(ROWS[:1])
    sink.write(ROWS[1:])
    assert part.read_bytes() == HEADER + CSV.encode(ROWS)
    assert path.read_text() == "of last time"
    sink.finish()
    assert path.read_bytes() == HEADER + CSV.encode(ROWS)
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_a_file_without_rows_has_its_header(tmp_path: Path) -> None:
    written(File(str(tmp_path / "rows.csv"), CSV))
    assert (tmp_path / "rows.csv").read_bytes() == HEADER
    written(File(str(tmp_path / "rows.jsonl"), JSONL))
    assert (tmp_path / "rows.jsonl").read_bytes() == b""


def test_a_file_that_is_not_finished_keeps_its_rows_beside_its_name(tmp_path: Path) -> None:
    killed = "import os, signal; from pigeonhole.sinks.file import File; from tests.sinks.test_sinks import CSV, ROWS; "
    killed += f"File({str(tmp_path / 'rows.csv')!r}, CSV).write(ROWS); os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", killed], cwd=ROOT).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["rows.csv.part"]
    assert (tmp_path / "rows.csv.part").read_bytes() == HEADER + CSV.encode(ROWS)


def test_a_name_that_is_a_link_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large/rows.csv").touch()
    (tmp_path / "rows.csv").symlink_to("large/rows.csv")
    written(File(str(tmp_path / "rows.csv"), CSV), ROWS)
    assert (tmp_path / "rows.csv").is_symlink()
    assert (tmp_path / "large/rows.csv").read_bytes() == HEADER + CSV.encode(ROWS)
    assert sorted(os.listdir(tmp_path / "large")) == ["rows.csv"]


def test_a_device_is_written_to_as_it_is() -> None:
    before = os.stat("/dev/null")
    written(File("/dev/null", CSV), ROWS)
    assert os.stat("/dev/null").st_rdev == before.st_rdev
    assert not os.path.exists("/dev/null.part")


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}", "link.csv", "link to a link"])
def test_what_is_open_already_is_written_to_where_it_stands(folder: Path, name: str) -> None:
    Path("all.csv").write_bytes(b"what was there\n")
    with open("all.csv", "ab", buffering=0) as stream:
        os.symlink(f"/dev/fd/{stream.fileno()}", "link.csv")
        os.symlink("link.csv", "link to a link")
        written(File(name.format(stream.fileno(), pid=os.getpid()), CSV), ROWS)
        stream.write(b"and after\n")
    assert Path("all.csv").read_bytes() == b"what was there\n" + HEADER + CSV.encode(ROWS) + b"and after\n"
    assert sorted(os.listdir()) == ["all.csv", "link to a link", "link.csv"]


def test_a_descriptor_that_is_not_open_is_told() -> None:
    with pytest.raises(OutputFailed, match=r"^'/dev/fd/987' can't be written: Bad file descriptor; choose another "):
        File("/dev/fd/987", CSV)


@pytest.mark.parametrize("path", ["1", "fd/1", "/dev/null", "/proc/1/fd/1"])
def test_a_file_that_is_only_named_so_is_none_that_is_open(folder: Path, path: str) -> None:
    os.symlink("loop", "loop")
    assert descriptor(path) is descriptor("loop") is None


def test_a_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    many = ROWS * 2000
    written(File(str(pipe), CSV), many)
    reader.join()
    assert received == [HEADER + CSV.encode(many)]
    assert pipe.is_fifo()


def test_whoever_closes_our_pipe_has_seen_enough(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as pipe, pytest.raises(BrokenPipeError):
        Stream(pipe, CSV).write(ROWS)


def test_a_full_disk_is_told_in_words() -> None:
    sink = File("/dev/full", CSV)
    with pytest.raises(OutputFailed, match=r"^'/dev/full': the rows can't be written: No space left on device$"):
        sink.write(ROWS)
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OutputFailed) as error:
        Stream(full, JSONL).write(ROWS)
    assert str(error.value) == "the rows can't be written: No space left on device"


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Limit the size of this process' files, so that writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_there_is_no_room_for_the_header_it_is_told_in_the_end(tmp_path: Path) -> None:
    sink = File(str(tmp_path / "rows.csv"), CSV)
    with at_most(0), pytest.raises(OutputFailed, match=r"rows.csv.part': the rows can't be written: File too large$"):
        sink.finish()
    assert os.listdir(tmp_path) == ["rows.csv.part"]


def test_a_folder_that_can_not_be_written_is_told_with_what_to_do(
    tmp_path: Path, as_nobody: Callable[[Path], AbstractContextManager[None]]
) -> None:
    (tmp_path / "read-only").mkdir(mode=0o555)
    path = str(tmp_path / "read-only/rows.csv")
    with as_nobody(tmp_path), pytest.raises(OutputFailed) as error:
        File(path, CSV)
    part = path + ".part"
    assert str(error.value) == f"{part!r} can't be written: Permission denied; choose another place with -o"


@pytest.mark.parametrize(("name", "why"), [("a.csv/rows.csv", "Not a directory"), ("folder.csv", "Is a directory")])
def test_a_place_that_can_not_be_written_is_told_before_there_are_rows(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a.csv").touch()
    with pytest.raises(OutputFailed, match=rf" can't be written: {why}; choose another place with -o$"):
        File(str(tmp_path / name), CSV)


def test_a_folder_that_does_not_exist_is_told_with_what_to_do(folder: Path) -> None:
    os.symlink("gone/rows.csv", "link.csv")
    for path, missing in (("nodir/rows.csv", "nodir"), ("link.csv", os.path.realpath("gone"))):
        with pytest.raises(OutputFailed) as error:
            File(path, CSV)
        assert str(error.value).endswith(
            f"rows.csv.part' can't be written: the folder '{missing}' does not exist; make it, or choose another place "
            "with -o"
        )
    assert os.listdir() == ["link.csv"]


def test_a_name_that_was_taken_meanwhile_is_told_with_where_the_rows_are(tmp_path: Path) -> None:
    sink = File(str(tmp_path / "rows.csv"), CSV)
    sink.write(ROWS)
    (tmp_path / "rows.csv/taken").mkdir(parents=True)
    with pytest.raises(OutputFailed) as error:
        sink.finish()
    path = str(tmp_path / "rows.csv")
    assert str(error.value) == f"{path!r} can't be written: Is a directory; the rows are in {path + '.part'!r}"
    assert (tmp_path / "rows.csv.part").read_bytes() == HEADER + CSV.encode(ROWS)


# Formats


@pytest.mark.parametrize(("path", "format"), [("a.csv", "csv"), ("a.b.JSONL", "jsonl"), ("d.csv/a.Csv", "csv")])
def test_an_extension_names_its_format(path: str, format: str) -> None:
    assert format_of(path).name == format


@pytest.mark.parametrize("path", ["rows", "rows.txt", "rows.", "rows.csv/x", ".csv", "rows.json"])
def test_an_extension_that_names_none_is_told_with_what_does(path: str) -> None:
    with pytest.raises(UsageError) as error:
        format_of(path)
    assert (
        str(error.value)
        == f"{path!r} has no known extension: use .csv, .jsonl, .parquet or .db, or choose one with --format"
    )


@pytest.mark.parametrize(
    ("path", "given", "format"), [("stdout", None, "csv"), ("fd/1", None, "csv"), ("stdout", "jsonl", "jsonl")]
)
def test_what_is_open_already_gets_csv_as_a_pipe_does(path: str, given: str | None, format: str) -> None:
    assert row_format(f"/dev/{path}", FORMATS[given] if given else None) is FORMATS[format]


# The table


def table_of(rows: list[Row], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "120")
    table = Table()
    for row in rows:
        table.write([row])
    table.finish()
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_table_shows_what_is_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    header, *lines = table_of(ROWS, capsys, monkeypatch)
    assert header.split() == ["path", "label", "confidence", "review", "error"]
    assert [line.split() for line in lines] == [
        ["in/7.png", "7", "1.0000"],
        ["in/4.png", "4", "0.5000", "yes"],
        ["in/x.png", "missing:", "no", "such", "file"],
    ]


@pytest.mark.parametrize("count", [TABLE_ROWS - 1, TABLE_ROWS, TABLE_ROWS + 1, 2 * TABLE_ROWS + 1200])
def test_a_table_shows_at_most_its_rows_and_how_many_there_are_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    lines = table_of([named(f"{number}.png") for number in range(count)], capsys, monkeypatch)
    assert [line.split()[0] for line in lines[1 : TABLE_ROWS + 1]] == [
        f"{number}.png" for number in range(min(count, TABLE_ROWS))
    ]
    more = count - TABLE_ROWS
    assert lines[TABLE_ROWS + 1 :] == ([f"… and {more:,} more rows; -o FILE keeps all of them"] if more > 0 else [])


def test_rows_that_come_many_at_a_time_are_counted_alike(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    written(table, ROWS * 5, ROWS * 5, ROWS * 5)
    assert f"… and {45 - TABLE_ROWS} more rows" in capsys.readouterr().out


def test_a_table_obeys_nothing_that_stands_in_a_name_or_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = b"[red]a[/red]\x1b[2J\x07\r\ncaf\xe9.png"
    row = MISSING._replace(path=os.fsdecode(name), error="broken: [/] \x1b]0;x\x07 \u202e")
    label = DOUBTFUL._replace(label="[bold]\x1b[1m")
    out = "\n".join(table_of([row, label], capsys, monkeypatch))
    assert r"[red]a[/red]\x1b[2J\x07\r\ncaf\udce9.png" in out
    assert r"broken: [/] \x1b]0;x\x07 \u202e" in out
    assert r"[bold]\x1b[1m" in out
    assert "\x1b" not in out


@given(st.text())
def test_what_is_printable_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()


def test_what_can_be_shown_is_shown_as_it_is() -> None:
    assert printable("caf\u00e9 \u6570 a.png") == "caf\u00e9 \u6570 a.png"
