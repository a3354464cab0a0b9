"""Files of rows: whole rows only, links, devices and pipes, and places that can not be written."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.filesystem.output_files import descriptor
from pigeonhole.sinks.file import File
from pigeonhole.sinks.registry import FORMATS, format_of
from pigeonhole.sinks.sink import Stream
from producer.arguments.outputs import row_format
from tests.conftest import ROOT
from tests.full_disk import file_size_limit
from tests.messages import check_message
from tests.sinks.formats import CSV, JSONL
from tests.sinks.rows import HEADER, ROWS, write_all


def test_a_part_file_grows_by_whole_rows_and_replaces_the_file_at_the_end(tmp_path: Path) -> None:
    path, part = tmp_path / "rows.csv", tmp_path / "rows.csv.part"
    path.write_text("earlier")
    sink = File(str(path), CSV)
    sink.write(ROWS[:1])
    assert part.read_bytes() == HEADER + CSV.encode(ROWS[:1])
    sink.write(ROWS[1:])
    assert part.read_bytes() == HEADER + CSV.encode(ROWS)
    assert path.read_text() == "earlier"
    sink.finish()
    assert path.read_bytes() == HEADER + CSV.encode(ROWS)
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_a_file_without_rows_has_its_header(tmp_path: Path) -> None:
    write_all(File(str(tmp_path / "rows.csv"), CSV))
    assert (tmp_path / "rows.csv").read_bytes() == HEADER
    write_all(File(str(tmp_path / "rows.jsonl"), JSONL))
    assert (tmp_path / "rows.jsonl").read_bytes() == b""


def test_an_unfinished_file_leaves_its_rows_in_the_part_file(tmp_path: Path) -> None:
    killed = "import os, signal; from pigeonhole.sinks.file import File; from tests.sinks.formats import CSV; "
    killed += f"from tests.sinks.rows import ROWS; File({str(tmp_path / 'rows.csv')!r}, CSV).write(ROWS); "
    killed += "os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", killed], cwd=ROOT).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["rows.csv.part"]
    assert (tmp_path / "rows.csv.part").read_bytes() == HEADER + CSV.encode(ROWS)


def test_rows_are_written_to_the_target_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large/rows.csv").touch()
    (tmp_path / "rows.csv").symlink_to("large/rows.csv")
    write_all(File(str(tmp_path / "rows.csv"), CSV), ROWS)
    assert (tmp_path / "rows.csv").is_symlink()
    assert (tmp_path / "large/rows.csv").read_bytes() == HEADER + CSV.encode(ROWS)
    assert sorted(os.listdir(tmp_path / "large")) == ["rows.csv"]


def test_a_device_is_written_without_a_part_file() -> None:
    before = os.stat("/dev/null")
    write_all(File("/dev/null", CSV), ROWS)
    assert os.stat("/dev/null").st_rdev == before.st_rdev
    assert not os.path.exists("/dev/null.part")


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}", "link.csv", "link to a link"])
def test_an_open_descriptor_is_written_at_its_position(folder: Path, name: str) -> None:
    Path("all.csv").write_bytes(b"before\n")
    with open("all.csv", "ab", buffering=0) as stream:
        os.symlink(f"/dev/fd/{stream.fileno()}", "link.csv")
        os.symlink("link.csv", "link to a link")
        write_all(File(name.format(stream.fileno(), pid=os.getpid()), CSV), ROWS)
        stream.write(b"after\n")
    assert Path("all.csv").read_bytes() == b"before\n" + HEADER + CSV.encode(ROWS) + b"after\n"
    assert sorted(os.listdir()) == ["all.csv", "link to a link", "link.csv"]


def test_a_closed_descriptor_is_refused() -> None:
    with pytest.raises(OutputFailed, match=r"'/dev/fd/987'.*: Bad file descriptor; .* with -o"):
        File("/dev/fd/987", CSV)


@pytest.mark.parametrize("path", ["1", "fd/1", "/dev/null", "/proc/1/fd/1"])
def test_a_file_with_the_name_of_a_descriptor_is_no_descriptor(folder: Path, path: str) -> None:
    os.symlink("loop", "loop")
    assert descriptor(path) is descriptor("loop") is None


def test_a_pipe_is_written_without_a_part_file(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    many = ROWS * 2000
    write_all(File(str(pipe), CSV), many)
    reader.join()
    assert received == [HEADER + CSV.encode(many)]
    assert pipe.is_fifo()


def test_a_closed_reader_raises_a_broken_pipe_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as pipe, pytest.raises(BrokenPipeError):
        Stream(pipe, CSV).write(ROWS)


def test_a_full_disk_raises_an_error() -> None:
    sink = File("/dev/full", CSV)
    with pytest.raises(OutputFailed, match=r"'/dev/full': .*: No space left on device$"):
        sink.write(ROWS)
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OutputFailed) as error:
        Stream(full, JSONL).write(ROWS)
    assert str(error.value).endswith(": No space left on device")


def test_a_disk_without_room_for_the_header_raises_an_error(tmp_path: Path) -> None:
    sink = File(str(tmp_path / "rows.csv"), CSV)
    with (
        file_size_limit(0),
        pytest.raises(OutputFailed, match=r"rows.csv.part': .*: File too large$"),
    ):
        sink.finish()
    assert os.listdir(tmp_path) == ["rows.csv.part"]


def test_a_read_only_folder_is_refused_with_the_remedy(
    tmp_path: Path, as_nobody: Callable[[Path], AbstractContextManager[None]]
) -> None:
    (tmp_path / "read-only").mkdir(mode=0o555)
    path = str(tmp_path / "read-only/rows.csv")
    with as_nobody(tmp_path), pytest.raises(OutputFailed) as error:
        File(path, CSV)
    check_message(error.value, repr(f"{path}.part"), "Permission denied", "with -o")


@pytest.mark.parametrize(("name", "why"), [("a.csv/rows.csv", "Not a directory"), ("folder.csv", "Is a directory")])
def test_an_impossible_path_is_refused_before_there_are_rows(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a.csv").touch()
    with pytest.raises(OutputFailed, match=rf"{name}.*: {why}; .* with -o$"):
        File(str(tmp_path / name), CSV)


def test_a_missing_folder_is_refused_with_the_remedy(folder: Path) -> None:
    os.symlink("gone/rows.csv", "link.csv")
    for path, missing in (("nodir/rows.csv", "nodir"), ("link.csv", os.path.realpath("gone"))):
        with pytest.raises(OutputFailed) as error:
            File(path, CSV)
        check_message(error.value, "rows.csv.part'", f"'{missing}'", "make it", "with -o")
    assert os.listdir() == ["link.csv"]


def test_if_a_folder_takes_the_name_of_the_file_the_error_names_the_part_file(tmp_path: Path) -> None:
    sink = File(str(tmp_path / "rows.csv"), CSV)
    sink.write(ROWS)
    (tmp_path / "rows.csv/taken").mkdir(parents=True)
    with pytest.raises(OutputFailed) as error:
        sink.finish()
    path = str(tmp_path / "rows.csv")
    check_message(error.value, repr(path), "Is a directory", f"the rows are in {path + '.part'!r}")
    assert (tmp_path / "rows.csv.part").read_bytes() == HEADER + CSV.encode(ROWS)


@pytest.mark.parametrize(("path", "format"), [("a.csv", "csv"), ("a.b.JSONL", "jsonl"), ("d.csv/a.Csv", "csv")])
def test_the_extension_of_a_file_selects_its_format(path: str, format: str) -> None:
    assert format_of(path).name == format


@pytest.mark.parametrize("path", ["rows", "rows.txt", "rows.", "rows.csv/x", ".csv", "rows.json"])
def test_an_unknown_extension_is_refused_with_the_known_ones(path: str) -> None:
    with pytest.raises(UsageError) as error:
        format_of(path)
    check_message(error.value, repr(path), ".csv, .jsonl, .parquet or .db", "--format")


@pytest.mark.parametrize(
    ("path", "option", "format"), [("stdout", None, "csv"), ("fd/1", None, "csv"), ("stdout", "jsonl", "jsonl")]
)
def test_an_open_descriptor_gets_csv_by_default(path: str, option: str | None, format: str) -> None:
    assert row_format(f"/dev/{path}", FORMATS[option] if option else None) is FORMATS[format]
