"""Results that are read back from all formats."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.file import File
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.registry import FORMATS, read_results
from pigeonhole.sinks.whole import WholeFormat, path_of, text_and_bytes
from producer.arguments.outputs import row_format
from tests.messages import check_message
from tests.sinks.formats import CSV, DB, JSONL, PARQUET
from tests.sinks.result_files import JOB, ask, write
from tests.sinks.rows import MODEL, PREDICTIONS, ROWS, named

WHOLE_FORMATS = [PARQUET, DB]


def test_rows_can_be_read_back_repeatedly(folder: Path) -> None:
    Path("rows.csv").write_bytes(CSV.header + CSV.encode(ROWS))
    Path("rows.jsonl").write_bytes(JSONL.encode(ROWS))
    Path("rows.txt").write_bytes(JSONL.encode(ROWS))
    assert list(read_results("rows.jsonl")) == ROWS
    assert list(read_results("rows.txt", format=JSONL)) == ROWS
    found = read_results("rows.csv")
    for _ in range(2):
        assert list(found) == [row._replace(top=()) for row in ROWS]
    assert found.job is None, "a CSV file does not name its job"


def test_a_file_without_results_is_refused(folder: Path) -> None:
    Path("rows.csv").write_text("image,class\n")
    with pytest.raises(UsageError, match=r"'rows.csv' .*path,label,confidence"):
        list(read_results("rows.csv"))
    for format in FORMATS.values():
        with pytest.raises(UsageError, match=rf"'gone.{format.name}'.*: No such file or directory$"):
            read_results(f"gone.{format.name}")


@pytest.mark.parametrize("format", WHOLE_FORMATS)
def test_rows_and_their_job_are_read_back_from_parquet_and_sqlite(folder: Path, format: Format) -> None:
    rows = [*ROWS, named(b"caf\xe9.png"), named("caf\\xe9.png"), named('new\nline,".png')]
    write(rows, f"rows.{format.name}")
    found = read_results(f"rows.{format.name}")
    for _ in range(2):
        assert list(found) == rows
    assert found.job == replace(JOB, model=MODEL, images=6, done=6, errors=1, reviews=1)
    assert os.listdir() == [f"rows.{format.name}"], "no temporary files are left"


@pytest.mark.parametrize("format", WHOLE_FORMATS)
def test_results_without_rows_are_read_back(folder: Path, format: Format) -> None:
    write([], f"rows.{format.name}")
    found = read_results(f"rows.{format.name}")
    assert list(found) == []
    assert found.job == JOB


@pytest.mark.parametrize("format", WHOLE_FORMATS)
@given(rows=st.lists(PREDICTIONS, max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_row_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, format: Format, rows: list[Row]
) -> None:
    path = str(tmp_path_factory.mktemp("any") / f"rows.{format.name}")
    write(rows, path)
    assert list(read_results(path)) == rows


@pytest.mark.parametrize("format", WHOLE_FORMATS)
def test_an_interrupted_conversion_leaves_the_part_file_with_json_lines(
    folder: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(format, WholeFormat)
    written = format.write

    def interrupted(path: str, chunks: object, *about: Any) -> None:
        def some() -> Iterator[list[Row]]:
            yield ROWS
            raise KeyboardInterrupt

        written(path, some(), *about)

    monkeypatch.setattr(format, "write", interrupted)
    sink = File(f"rows.{format.name}", format)
    sink.write(ROWS)
    assert Path(f"rows.{format.name}.part").read_bytes() == JSONL.encode(ROWS)
    with pytest.raises(KeyboardInterrupt):
        sink.finish(JOB)
    assert Path(f"rows.{format.name}.part").read_bytes() == JSONL.encode(ROWS)
    if format is DB:
        assert ask("SELECT count(*) FROM sqlite_master") == [(0,)]
    else:
        assert os.listdir() == ["rows.parquet.part"]


@pytest.mark.parametrize("format", WHOLE_FORMATS)
def test_a_full_disk_at_the_conversion_leaves_the_rows_in_the_part_file(folder: Path, format: Format) -> None:
    sink = File(f"rows.{format.name}", format)
    sink.write([named(f"{number:099}.png") for number in range(3000)])
    Path(f"rows.{format.name}.new").symlink_to("/dev/full")
    if format is DB:
        Path("rows.db").mkdir()
    with pytest.raises(OutputFailed, match=rf"'rows.{format.name}' .* the rows are in 'rows.{format.name}.part'$"):
        sink.finish(JOB)
    assert Path(f"rows.{format.name}.part").read_bytes().count(b"\n") == 3000


@pytest.mark.parametrize("format", WHOLE_FORMATS)
@pytest.mark.parametrize("output", [None, "/dev/null", "/dev/stdout"])
def test_parquet_and_sqlite_can_not_be_written_to_a_stream(output: str | None, format: Format) -> None:
    with pytest.raises(UsageError) as error:
        row_format(output, format)
    where = repr(output) if output else "standard output"
    check_message(error.value, where, f".{format.name}", "-o FILE", "--format csv or jsonl")


@given(st.binary(min_size=1, max_size=20))
def test_a_path_that_is_not_utf_8_keeps_its_bytes_beside_a_text(name: bytes) -> None:
    text, stored = text_and_bytes(os.fsdecode(name))
    text.encode()
    assert path_of(text, stored) == os.fsdecode(name)


@pytest.mark.parametrize("format", FORMATS.values())
def test_archive_members_with_the_same_name_have_a_row_each(folder: Path, format: Format) -> None:
    rows = [named(f"x.zip::{name}.png")._replace(label=label) for name, label in ("a1", "b2", "a3")]
    for _ in range(2):
        write(rows, f"rows.{format.name}")
        assert [(row.path, row.label) for row in read_results(f"rows.{format.name}")] == [row[:2] for row in rows]
