"""SQLite databases."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.ledger.status import JobState
from pigeonhole.sinks import sqlite
from pigeonhole.sinks.format import as_dicts
from pigeonhole.sinks.registry import read_results
from producer.arguments.outputs import row_format
from tests.messages import check_message
from tests.sinks.formats import DB
from tests.sinks.result_files import JOB, ask, write
from tests.sinks.rows import MODEL, ROWS, SEVEN, named


def test_a_database_holds_several_jobs_and_the_newest_is_read(folder: Path) -> None:
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
    with pytest.raises(UsageError, match=r"'rows.db' .*'three'"):
        read_results("rows.db", "three")
    with pytest.raises(UsageError, match=r"'rows.db' .*elsewhere"):
        read_results("rows.db", sources=("elsewhere",))


def test_new_rows_of_a_job_replace_its_rows_in_the_database(folder: Path) -> None:
    write(ROWS, "rows.db", replace(JOB, job="two"))
    running = replace(JOB, state=JobState.RUNNING, finished=None)
    write([ROWS[0], ROWS[2]], "rows.db", running)
    write([*ROWS, named("new.png")], "rows.db")
    assert list(read_results("rows.db", "one")) == [*ROWS, named("new.png")]
    assert ask("SELECT state, finished, images, errors FROM jobs WHERE job = 'one'") == [("finished", 3.0, 4, 1)]
    assert list(read_results("rows.db", "two")) == ROWS, "other jobs stay"


def test_a_database_of_the_first_version_is_read_but_not_written(folder: Path) -> None:
    write(ROWS, "rows.db")
    ask("PRAGMA user_version = 1")
    assert list(read_results("rows.db")) == ROWS
    check_message(refused("rows.db"), "'rows.db'", "older version", "choose another FILE")


@pytest.mark.parametrize("name", ["a?b#c%20 d.db", "//rows.db"])
def test_a_database_can_have_any_name(folder: Path, name: str) -> None:
    path = f"/{Path.cwd()}/rows.db" if name.startswith("//") else name
    write(ROWS, path)
    assert list(read_results(path)) == ROWS
    assert os.listdir() == [os.path.basename(path)]


def test_queries_of_a_database_use_its_indexes(folder: Path) -> None:
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


def test_rows_are_read_from_a_database_in_order_without_sorting(folder: Path) -> None:
    write(ROWS, "rows.db")
    question = sqlite._READ_ROWS.format(newer="labels, unknown")
    assert [step[3] for step in ask(f"EXPLAIN QUERY PLAN {question}", "one")] == ["SCAN rows"]


def refused(path: str) -> str:
    with pytest.raises((UsageError, OutputFailed)) as error:
        row_format(path, None)
    return str(error.value)


def test_a_database_that_can_not_be_written_is_refused_before_the_run(
    folder: Path, as_nobody: Callable[[Path], AbstractContextManager[None]]
) -> None:
    for name in ("new.db", "rows.sqlite"):
        assert row_format(name, None) is DB
    Path("empty.db").touch()
    assert row_format("empty.db", None) is DB
    assert not Path("new.db").exists()
    assert Path("empty.db").stat().st_size == 0

    Path("text.db").write_text("no database")
    check_message(refused("text.db"), "'text.db'", "not an SQLite database", "choose another FILE")
    ask("CREATE TABLE photos (name)", path="theirs.db")
    check_message(refused("theirs.db"), "'theirs.db'", "another program", "choose another FILE")
    write(ROWS, "rows.db")
    assert row_format("rows.db", None) is DB
    with closing(sqlite3.connect("rows.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        seconds = sqlite.CHECK_SECONDS
        sqlite.CHECK_SECONDS = 0.01
        try:
            check_message(refused("rows.db"), "'rows.db'", "locked", "choose another FILE")
        finally:
            sqlite.CHECK_SECONDS = seconds
    ask("PRAGMA user_version = 9")
    check_message(refused("rows.db"), "'rows.db'", "version 9, ours have 2", "use that version", "choose another FILE")
    ask("PRAGMA user_version = 2")
    Path("rows.db").chmod(0o444)
    with as_nobody(folder):
        check_message(refused("rows.db"), "'rows.db'", "read-only", "choose another FILE")


def test_a_damaged_row_in_a_database_raises_an_error(folder: Path) -> None:
    write(ROWS, "rows.db")
    with closing(sqlite3.connect("rows.db")) as connection, connection:
        connection.execute("UPDATE rows SET top = 'none' WHERE number = 2")
    with pytest.raises(UsageError, match=r"'rows.db' "):
        list(read_results("rows.db"))


def test_the_top_classes_are_json_that_sqlite_can_query(folder: Path) -> None:
    write(ROWS, "rows.db")
    assert json.loads(str(ask("SELECT top FROM rows")[0][0])) == as_dicts(SEVEN.top)
    assert ask("SELECT json_extract(top, '$[1].label') FROM rows WHERE path = 'in/7.png'") == [("1",)]
