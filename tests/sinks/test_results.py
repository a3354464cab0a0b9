"""Parquet and SQLite files, and results that are read back from all formats."""

import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks import parquet, sqlite
from pigeonhole.sinks.file import File
from pigeonhole.sinks.format import Format, as_dicts
from pigeonhole.sinks.parquet import Parquet
from pigeonhole.sinks.registry import FORMATS, read_results
from pigeonhole.sinks.whole import WholeFormat, path_of, text_and_bytes
from pigeonhole.version import install_hint
from producer.arguments.outputs import row_format
from tests.sinks.formats import CSV, DB, JSONL, PARQUET
from tests.sinks.test_rows import PREDICTIONS
from tests.sinks.test_sinks import MODEL, ROWS, SEVEN, named

JOB = JobStatus(
    job="one", state=JobState.FINISHED, model="digits", created=1.0, sources=("in", "\udcff"), started=2, finished=3
)
MADE = [PARQUET, DB]


def write(rows: list[Row], path: str, job: JobStatus = JOB) -> None:
    sink = File(path, FORMATS[path.rpartition(".")[2]])
    for row in rows:
        sink.write([row])
    sink.finish(job)


def ask(question: str, *values: object, path: str = "rows.db") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question, values).fetchall()


# Lines


def test_rows_are_read_back_as_often_as_they_are_asked_for(folder: Path) -> None:
    Path("rows.csv").write_bytes(CSV.header + CSV.encode(ROWS))
    Path("rows.jsonl").write_bytes(JSONL.encode(ROWS))
    Path("rows.txt").write_bytes(JSONL.encode(ROWS))
    assert list(read_results("rows.jsonl")) == ROWS
    assert list(read_results("rows.txt", format=JSONL)) == ROWS
    found = read_results("rows.csv")
    for _ in range(2):
        assert list(found) == [row._replace(top=()) for row in ROWS]
    assert found.job is None, "such a file says nothing of its job"


def test_what_holds_no_results_is_told(folder: Path) -> None:
    Path("rows.csv").write_text("image,class\n")
    with pytest.raises(UsageError, match=r"^'rows.csv' is not a results file of Pigeonhole: it does not begin with "):
        list(read_results("rows.csv"))
    for format in FORMATS.values():
        with pytest.raises(UsageError, match=rf"^'gone.{format.name}' can't be read: No such file or directory$"):
            read_results(f"gone.{format.name}")


# Parquet and SQLite


@pytest.mark.parametrize("format", MADE)
def test_what_is_made_in_the_end_is_read_back_with_what_is_known_of_the_job(folder: Path, format: Format) -> None:
    rows = [*ROWS, named(b"caf\xe9.png"), named("caf\\xe9.png"), named('new\nline,".png')]
    write(rows, f"rows.{format.name}")
    found = read_results(f"rows.{format.name}")
    for _ in range(2):
        assert list(found) == rows
    assert found.job == replace(JOB, model=MODEL, images=6, done=6, errors=1, reviews=1)
    assert os.listdir() == [f"rows.{format.name}"], "and nothing is left of how it was made"


@pytest.mark.parametrize("format", MADE)
def test_no_rows_are_results_too(folder: Path, format: Format) -> None:
    write([], f"rows.{format.name}")
    found = read_results(f"rows.{format.name}")
    assert list(found) == []
    assert found.job == JOB


@pytest.mark.parametrize("format", MADE)
@given(rows=st.lists(PREDICTIONS, max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_row_comes_back(tmp_path_factory: pytest.TempPathFactory, format: Format, rows: list[Row]) -> None:
    path = str(tmp_path_factory.mktemp("any") / f"rows.{format.name}")
    write(rows, path)
    assert list(read_results(path)) == rows


@pytest.mark.parametrize("format", MADE)
def test_until_it_is_whole_there_is_only_the_part_with_json_lines(
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


@pytest.mark.parametrize("format", MADE)
def test_a_full_disk_in_the_end_leaves_the_rows(folder: Path, format: Format) -> None:
    sink = File(f"rows.{format.name}", format)
    sink.write([named(f"{number:099}.png") for number in range(3000)])
    Path(f"rows.{format.name}.new").symlink_to("/dev/full")
    if format is DB:
        Path("rows.db").mkdir()
    with pytest.raises(
        OutputFailed, match=rf"^'rows.{format.name}' can't be written: .*; the rows are in 'rows.{format.name}.part'$"
    ):
        sink.finish(JOB)
    assert Path(f"rows.{format.name}.part").read_bytes().count(b"\n") == 3000


@pytest.mark.parametrize("format", MADE)
@pytest.mark.parametrize("output", [None, "/dev/null", "/dev/stdout"])
def test_what_is_made_in_the_end_is_no_stream(output: str | None, format: Format) -> None:
    with pytest.raises(UsageError) as error:
        row_format(output, format)
    where = repr(output) if output else "standard output"
    assert (
        str(error.value)
        == f"{where} can't take .{format.name}: name a file with -o FILE, or choose --format csv or jsonl"
    )


@given(st.binary(min_size=1, max_size=20))
def test_a_name_that_is_not_utf_8_keeps_its_bytes_beside_a_text(name: bytes) -> None:
    text, spelled = text_and_bytes(os.fsdecode(name))
    text.encode()
    assert path_of(text, spelled) == os.fsdecode(name)


# Parquet


def test_parquet_has_typed_columns(folder: Path) -> None:
    import pandas
    import pyarrow.parquet

    write([*ROWS, named(b"caf\xe9.png")], "rows.parquet")
    table = pyarrow.parquet.read_table("rows.parquet")
    assert [f"{field.name}: {field.type}" for field in table.schema] == [
        "path: string",
        "path_bytes: binary",
        "label: dictionary<values=string, indices=int32, ordered=0>",
        "confidence: double",
        "review: bool",
        "error: string",
        "model: dictionary<values=string, indices=int32, ordered=0>",
        "top: list<element: struct<label: string, p: double>>",
        "labels: list<element: string>",
        "unknown: double",
    ]
    frame = pandas.read_parquet("rows.parquet")
    assert list(frame.path) == ["in/7.png", "in/4.png", "in/x.png", "caf\\xe9.png"]
    assert list(frame.path_bytes) == [None, None, None, b"caf\xe9.png"]
    assert list(frame.error.isna()) == [True, True, False, True]
    assert frame[frame.review].label.tolist() == ["4"]


def test_parquet_has_row_groups_that_fit_into_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    monkeypatch.setattr(Parquet, "chunk", 10)
    monkeypatch.setattr(parquet, "GROUP", 4)
    rows = [SEVEN._replace(path=f"{number}.png", label=str(number % 7)) for number in range(100)]
    write(rows, "rows.parquet")
    metadata = pyarrow.parquet.ParquetFile("rows.parquet").metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [40, 40, 20]
    assert list(read_results("rows.parquet")) == rows


def test_without_pyarrow_parquet_is_refused_with_the_name_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=f"pyarrow, which is not installed: `{re.escape(install_hint('parquet'))}`, or choose"
    ):
        row_format("rows.parquet", None)


def test_what_is_no_parquet_of_ours_is_told(folder: Path) -> None:
    import pandas

    Path("rows.parquet").write_bytes(b"PAR1, or so it says")
    with pytest.raises(UsageError, match=r"^'rows.parquet' (is not a results file of Pigeonhole|can't be read): "):
        read_results("rows.parquet")
    pandas.DataFrame({"path": ["a"], "label": ["7"]}).to_parquet("rows.parquet")
    with pytest.raises(UsageError, match=r"it has no column confidence, error, model, path_bytes, review, top$"):
        read_results("rows.parquet")


# The database


def test_several_jobs_are_in_one_database_and_the_newest_is_read(folder: Path) -> None:
    write(ROWS, "rows.db")
    other = [SEVEN._replace(path="in/8.png", label="8")]
    write(other, "rows.db", replace(JOB, job="two", sources=("other",)))
    assert ask("SELECT job, images, labels, errors, reviews, model FROM jobs ORDER BY written_ns") == [
        ("one", 3, 2, 1, 1, MODEL),
        ("two", 1, 1, 0, 0, MODEL),
    ]
    assert list(read_results("rows.db")) == other
    assert list(read_results("rows.db", "one")) == ROWS
    assert list(read_results("rows.db", sources=JOB.sources)) == ROWS
    with pytest.raises(UsageError, match=r"^'rows.db' holds no job 'three'$"):
        read_results("rows.db", "three")
    with pytest.raises(UsageError, match=r"^'rows.db' holds no job of elsewhere$"):
        read_results("rows.db", sources=("elsewhere",))


def test_the_rows_of_a_job_take_the_place_of_those_that_a_database_has_of_it(folder: Path) -> None:
    write(ROWS, "rows.db", replace(JOB, job="two"))
    so_far = replace(JOB, state=JobState.RUNNING, finished=None)
    write([ROWS[0], ROWS[2]], "rows.db", so_far)
    write([*ROWS, named("new.png")], "rows.db")
    assert list(read_results("rows.db", "one")) == [*ROWS, named("new.png")]
    assert ask("SELECT state, finished, images, errors FROM jobs WHERE job = 'one'") == [("finished", 3.0, 4, 1)]
    assert list(read_results("rows.db", "two")) == ROWS, "other jobs stay"


@pytest.mark.parametrize("format", FORMATS.values())
def test_members_of_one_name_have_a_row_each_however_often_they_are_written(folder: Path, format: Format) -> None:
    rows = [named(f"x.zip::{name}.png")._replace(label=label) for name, label in ("a1", "b2", "a3")]
    for _ in range(2):
        write(rows, f"rows.{format.name}")
        assert [(row.path, row.label) for row in read_results(f"rows.{format.name}")] == [row[:2] for row in rows]


def test_a_database_of_the_first_version_is_read_and_not_written(folder: Path) -> None:
    write(ROWS, "rows.db")
    ask("PRAGMA user_version = 1")
    assert list(read_results("rows.db")) == ROWS
    assert refused("rows.db") == (
        "'rows.db' was written by an older version of Pigeonhole, with one row for each path: it can be read only; to "
        "write rows, choose another FILE"
    )


@pytest.mark.parametrize("name", ["a?b#c%20 d.db", "//rows.db"])
def test_a_database_may_have_any_name(folder: Path, name: str) -> None:
    path = f"/{Path.cwd()}/rows.db" if name.startswith("//") else name
    write(ROWS, path)
    assert list(read_results(path)) == ROWS
    assert os.listdir() == [os.path.basename(path)]


def test_a_database_answers_by_its_indexes(folder: Path) -> None:
    write(ROWS, "rows.db")
    for question, index in {
        "SELECT path FROM rows WHERE label = '7' ORDER BY confidence": "rows_by_label (label=?)",
        "SELECT path FROM rows WHERE job = 'one' AND label = '7' ORDER BY confidence": (
            "rows_by_job_and_label (job=? AND label=?)"
        ),
        "SELECT path FROM rows WHERE job = 'one' AND review ORDER BY confidence": "rows_to_review (job=?)",
        "SELECT path FROM rows WHERE job = 'one' AND error IS NOT NULL": "rows_with_errors (job=? AND error>?)",
        "SELECT label FROM rows WHERE job = 'one' AND path = 'in/7.png'": "rows_by_job_and_path (job=? AND path=?)",
        "SELECT label, count(*) FROM rows WHERE job = 'one' GROUP BY label": "rows_by_job_and_label (job=?)",
    }.items():
        plan = [str(step[3]) for step in ask(f"EXPLAIN QUERY PLAN {question}")]
        assert len(plan) == 1, f"{question}: {plan}"
        assert plan[0].startswith("SEARCH rows USING ")
        assert plan[0].endswith(f"INDEX {index}")


def test_a_database_is_read_in_the_order_of_submission_without_sorting(folder: Path) -> None:
    write(ROWS, "rows.db")
    question = sqlite._READ_ROWS.format(newer="labels, unknown")
    assert [step[3] for step in ask(f"EXPLAIN QUERY PLAN {question}", "one")] == ["SCAN rows"]


def refused(path: str) -> str:
    with pytest.raises((UsageError, OutputFailed)) as error:
        row_format(path, None)
    return str(error.value)


def test_a_database_that_can_not_take_rows_is_told_before_anything_runs(
    folder: Path, as_nobody: Callable[[Path], AbstractContextManager[None]]
) -> None:
    for name in ("new.db", "rows.sqlite"):
        assert row_format(name, None) is DB
    Path("empty.db").touch()
    assert row_format("empty.db", None) is DB
    assert not Path("new.db").exists()
    assert Path("empty.db").stat().st_size == 0

    Path("text.db").write_text("no database")
    assert refused("text.db") == "'text.db' can't be written: it is not an SQLite database; choose another FILE"
    ask("CREATE TABLE photos (name)", path="theirs.db")
    assert refused("theirs.db") == "'theirs.db' is a database of another program: choose another FILE"
    write(ROWS, "rows.db")
    assert row_format("rows.db", None) is DB
    with closing(sqlite3.connect("rows.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        seconds = sqlite.CHECK_SECONDS
        sqlite.CHECK_SECONDS = 0.01
        try:
            assert refused("rows.db") == (
                "'rows.db' can't be written: another program has locked it; end that program, or choose another FILE"
            )
        finally:
            sqlite.CHECK_SECONDS = seconds
    ask("PRAGMA user_version = 9")
    assert refused("rows.db") == (
        "'rows.db' was written by a newer version of Pigeonhole (its tables have version 9, ours have 2): use that "
        "version, or choose another FILE"
    )
    ask("PRAGMA user_version = 2")
    Path("rows.db").chmod(0o444)
    with as_nobody(folder):
        assert refused("rows.db") == "'rows.db' can't be written: it is read-only; choose another FILE"


def test_a_damaged_row_in_a_database_is_told(folder: Path) -> None:
    write(ROWS, "rows.db")
    with closing(sqlite3.connect("rows.db")) as connection, connection:
        connection.execute("UPDATE rows SET top = 'none' WHERE number = 2")
    with pytest.raises(UsageError, match=r"^'rows.db' is not a results file of Pigeonhole, or can't be read: "):
        list(read_results("rows.db"))


def test_the_best_classes_are_json_that_sqlite_understands(folder: Path) -> None:
    write(ROWS, "rows.db")
    assert json.loads(str(ask("SELECT top FROM rows")[0][0])) == as_dicts(SEVEN.top)
    assert ask("SELECT json_extract(top, '$[1].label') FROM rows WHERE path = 'in/7.png'") == [("1",)]
