"""The file of records: it returns all undamaged records."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import OutputFailed
from pigeonhole.jobs.record_file import MAGIC, RecordFile
from tests.conftest import ROOT
from tests.full_disk import file_size_limit
from tests.messages import check_message

RECORDS = [(1, b"first"), (2, b""), (255, b"\0" * 1000 + MAGIC + b"more"), (3, b"last")]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[RecordFile]:
    with closing(opened(tmp_path / "records")) as file:
        for kind, body in RECORDS:
            file.append(kind, body)
        yield file


def opened(path: Path) -> RecordFile:
    return RecordFile.locked(str(path), pytest.fail)


def content(file: RecordFile) -> list[tuple[int, bytes]]:
    return [(record.kind, record.body) for record in file]


def test_records_are_read_as_they_were_written(records: RecordFile, tmp_path: Path) -> None:
    assert content(records) == RECORDS
    assert [records.read(record.offset) for record in records] == list(records)
    records.close()
    with closing(opened(tmp_path / "records")) as again:
        again.append(9, b"added")
        assert content(again) == [*RECORDS, (9, b"added")]
        again.clear()
        assert content(again) == []
        again.append(8, b"new")
        assert content(again) == [(8, b"new")]


@given(st.data())
def test_a_damaged_byte_costs_only_its_record(data: st.DataObject) -> None:
    with closing(RecordFile.temporary()) as file:
        offsets = [file.append(kind, body) for kind, body in RECORDS]
        size = os.fstat(file._handle).st_size
        at = data.draw(st.integers(0, size - 1))
        whole = os.pread(file._handle, size, 0)
        os.pwrite(file._handle, bytes([whole[at] ^ data.draw(st.integers(1, 255))]), at)
        hit = max(number for number, offset in enumerate(offsets) if offset <= at)
        assert content(file) == [record for number, record in enumerate(RECORDS) if number != hit]


def test_half_a_record_at_the_end_is_skipped_and_later_records_are_read(records: RecordFile, tmp_path: Path) -> None:
    records.close()
    os.truncate(tmp_path / "records", (tmp_path / "records").stat().st_size - 2)
    with closing(opened(tmp_path / "records")) as file:
        assert content(file) == RECORDS[:-1]
        file.append(7, b"after")
        assert content(file) == [*RECORDS[:-1], (7, b"after")]


def test_on_a_full_disk_a_record_is_written_completely_or_not_at_all(records: RecordFile, tmp_path: Path) -> None:
    size = (tmp_path / "records").stat().st_size
    with file_size_limit(size + 10), pytest.raises(OutputFailed) as error:
        records.append(4, b"x" * 100)
    check_message(error.value, repr(str(tmp_path / "records")))
    assert os.strerror(errno.EFBIG) in str(error.value) or "disk is full" in str(error.value)
    records.append(5, b"once there is room")
    assert content(records) == [*RECORDS, (5, b"once there is room")]


def test_only_one_process_at_a_time_can_open_the_file(records: RecordFile, tmp_path: Path) -> None:
    path = str(tmp_path / "records")
    with pytest.raises(OutputFailed, match=r"another command .*'.*/records'"):
        opened(tmp_path / "records")
    other = f"from pigeonhole.jobs.record_file import RecordFile; RecordFile.locked({path!r}, print)"
    run = subprocess.run([sys.executable, "-c", other], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "OutputFailed: another command " in run.stderr
    records.close()
    assert subprocess.run([sys.executable, "-c", other], cwd=ROOT, check=False).returncode == 0


def test_a_file_that_its_last_owner_removed_is_created_again(
    records: RecordFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command opens the file, and gets the lock only after it was removed."""
    real = fcntl.flock

    def late(handle: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        records.remove()
        records.close()
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with closing(opened(tmp_path / "records")) as file:
        assert content(file) == []
        file.append(1, b"x")
        assert (tmp_path / "records").stat().st_size == 14


def test_a_file_system_without_locks_causes_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    warnings: list[str] = []
    with closing(RecordFile.locked(str(tmp_path / "records"), warnings.append)) as file:
        file.append(1, b"x")
    (warning,) = warnings
    check_message(warning, f"'{tmp_path}/records'", "No locks available", "do not run two commands on one file")
