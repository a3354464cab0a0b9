"""Rows with several labels, without labels, and with more of the most probable classes, in all formats."""

import csv
import io
import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import UsageError
from pigeonhole.jobs.rows import Rows
from pigeonhole.jobs.summary import Summary
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks import sqlite
from pigeonhole.sinks.csv_rows import Csv, SafeCsv
from pigeonhole.sinks.folders.sorting import Sorter
from pigeonhole.sinks.format import Format, as_dicts
from pigeonhole.sinks.registry import read_results
from producer.arguments.outputs import row_format
from producer.display.summary_text import summary_text
from producer.display.table import Table
from tests.sinks.formats import CSV, DB, JSONL, PARQUET
from tests.sinks.result_files import JOB, write
from tests.sinks.rows import MANY, MODEL, ROWS, SEVEN, read_back
from tests.sinks.sorting.sorted_folder import images, origins

BOTH = Row("in/both.png", "dog|cat", 0.9, False, "", MODEL, (("dog", 0.9), ("owl", 0.6), ("cat", 0.4)), ("dog", "cat"))
NONE = Row("in/none.png", "", None, True, "", MODEL, (("owl", 0.2), ("dog", 0.1)), ())
BROKEN = Row("in/gone.png", "", None, False, "missing: no such file", MODEL, ())
SEVERAL = [BOTH, NONE, BROKEN, SEVEN]
TOP_FORMATS = [Csv(top=1), SafeCsv(top=1)]


@pytest.mark.parametrize("format", [JSONL, PARQUET, DB])
def test_all_labels_are_read_back_from_every_format_except_csv(folder: Path, format: Format) -> None:
    path = f"rows.{format.name}"
    write(SEVERAL, path)
    assert list(read_results(path)) == SEVERAL


def test_csv_joins_the_labels_of_an_image(folder: Path) -> None:
    write(SEVERAL, "rows.csv")
    table = list(csv.reader(Path("rows.csv").read_text().splitlines()))
    assert [line[1:3] for line in table] == [
        ["label", "confidence"],
        ["dog|cat", "0.9"],
        ["", ""],
        ["", ""],
        ["7", "0.999999"],
    ]
    assert list(read_results("rows.csv")) == [row._replace(top=(), labels=None) for row in SEVERAL]


def test_jsonl_has_a_list_of_labels_for_a_multi_label_model() -> None:
    both, none, broken, seven = map(json.loads, JSONL.encode(SEVERAL).splitlines())
    assert (both["label"], both["labels"]) == ("dog|cat", ["dog", "cat"])
    assert (none["label"], none["labels"], none["confidence"], none["error"]) == (None, [], None, "")
    assert "labels" not in broken
    assert "labels" not in seven


def test_a_database_can_be_queried_for_each_label_of_an_image(folder: Path) -> None:
    write(SEVERAL, "rows.db")
    question = "SELECT rows.path, top FROM rows, json_each(rows.labels) WHERE json_each.value = 'cat'"
    with closing(sqlite3.connect("rows.db")) as database:
        assert database.execute(question).fetchall() == [("in/both.png", json.dumps(as_dicts(BOTH.top)))]
        assert database.execute("SELECT labels, errors FROM jobs").fetchall() == [(2, 1)]


def test_a_database_of_version_0_2_is_read_and_gets_new_columns_with_the_next_job(folder: Path) -> None:
    newer = r",( +-- the most probable classes.*\n).*labels TEXT.*\n.*unknown REAL.*\n"
    older, removed = re.subn(newer, r"\1", sqlite.TABLES)
    assert removed == 1
    with closing(sqlite3.connect("rows.db")) as database:
        database.executescript(f"{older}PRAGMA user_version = 2;")
        job, row = "'old', 'finished', '[]', '', 1, 1", "'old', 'a', '7', 0.5, 0, 'm', '[[\"7\", 0.5]]'"
        database.execute(f"INSERT INTO jobs (job, state, sources, model, created, written_ns) VALUES ({job})")
        database.execute(f"INSERT INTO rows (job, path, label, confidence, review, model, top) VALUES ({row})")
        database.commit()
    old = Row("a", "7", 0.5, False, "", "m", (("7", 0.5),))
    assert list(read_results("rows.db")) == [old]
    write(SEVERAL, "rows.db")
    assert list(read_results("rows.db")) == SEVERAL
    assert list(read_results("rows.db", "old")) == [old]


def test_a_parquet_file_of_version_0_2_is_read(folder: Path) -> None:
    from pyarrow import parquet

    write(ROWS, "rows.parquet")
    parquet.write_table(parquet.read_table("rows.parquet").drop_columns(["labels", "unknown"]), "old.parquet")
    assert list(read_results("old.parquet")) == [row._replace(unknown=None) for row in ROWS]


# --top


@pytest.mark.parametrize("format", TOP_FORMATS)
@given(rows=MANY, data=st.data())
def test_csv_with_top_classes_is_read_back(format: Csv, rows: list[Row], data: st.DataObject) -> None:
    whole = format.header + format.encode(rows)
    assert read_back(whole, format) == rows
    assert [row for _, row in CSV.scan(io.BytesIO(whole))] == rows, "the header names the columns"
    cut = data.draw(st.integers(0, len(whole)))
    assert read_back(whole[:cut], format) == rows[: len(read_back(whole[:cut], format))]


def test_csv_has_columns_for_the_top_classes() -> None:
    file = Csv(top=2)
    both, broken = csv.DictReader(io.StringIO((file.header + file.encode([BOTH, BROKEN])).decode()))
    assert list(both)[-4:] == ["top_1", "p_1", "top_2", "p_2"]
    assert list(both.values())[-4:] == ["dog", "0.9", "owl", "0.6"], "only as many as --top asks for"
    assert list(broken.values())[-4:] == ["", "", "", ""]
    assert CSV.encode([BOTH]).count(b"owl") == 0, "without --top there are no such columns"


def test_csv_of_version_0_2_is_read() -> None:
    old = b'path,label,confidence,review,error,model,top\na,7,0.5,true,,m,"[[""7"", 0.5], [""1"", 0.25]]"\n'
    expected = [Row("a", "7", 0.5, True, "", "m", (("7", 0.5), ("1", 0.25)))]
    assert [row for _, row in CSV.scan(io.BytesIO(old))] == expected
    plain = old.replace(b",top", b"").replace(old[old.index(b',"[') : -1], b"")
    assert [row for _, row in CSV.scan(io.BytesIO(plain))] == [expected[0]._replace(top=())]


@pytest.mark.parametrize("top", ["owl", '{""a"": 1}', '[[""a""]]', "[[1, 0.5]]", '[[""a"", ""b""]]'])
def test_an_invalid_list_of_top_classes_is_refused(top: str) -> None:
    with pytest.raises(UsageError, match="row 1 "):
        list(CSV.scan(io.BytesIO(f'path,label,confidence,review,error,model,top\na,7,0.5,false,,m,"{top}"\n'.encode())))


@pytest.mark.parametrize(
    "header",
    [
        "path,label",
        "path,label,confidence,review,error,model,model",
        "path,label,confidence,review,error,model,p_0",
        "label,path,confidence,review,error,model",
        "path,label,confidence,review,error,model,size",
    ],
)
def test_a_csv_file_with_other_columns_is_refused(header: str) -> None:
    with pytest.raises(UsageError, match="path,label,confidence,unknown"):
        list(CSV.scan(io.BytesIO(f"{header}\n".encode())))


def test_the_option_top_changes_only_csv(folder: Path) -> None:
    chosen = [row_format("rows.csv", None, safe, top=top) for safe in (False, True) for top in (None, 5)]
    assert [(type(one), one.lines.header.endswith(b",top_5,p_5\n")) for one in chosen if one] == [
        (Csv, False),
        (Csv, True),
        (SafeCsv, False),
        (SafeCsv, True),
    ]
    assert row_format("rows.jsonl", None, top=5) is JSONL


def test_a_table_shows_the_top_classes_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    for top, words in ((False, 0), (True, 1)):
        table = Table(top)
        table.write([BOTH])
        table.finish()
        assert capsys.readouterr().out.count("owl") == words


def counted_rows(rows: Sequence[Row], kept: bool) -> Summary:
    summary = Summary()
    for row in rows if kept else ():
        summary.keep(row)
    if not kept:
        summary.add(rows)
    return summary


@pytest.mark.parametrize("kept", [False, True])
def test_an_image_counts_for_each_of_its_labels_and_no_label_is_no_error(kept: bool) -> None:
    summary = counted_rows([*SEVERAL, BOTH], kept)
    assert summary.labels == {"dog": 2, "cat": 2, "7": 1}
    assert (summary.labelled, summary.unlabelled, summary.errors.total(), summary.reviews) == (3, 1, 1, 1)
    assert summary.mean_confidence == pytest.approx((0.9 + 0.9 + 0.999999) / 3)
    assert "3 labels, 1 without a label, 1 error, 1 to review" in summary_text(summary, JOB, 0.0)
    assert summary.to_json(JOB, 0.0)["unlabelled"] == 1


def test_an_image_is_sorted_by_its_most_probable_label_or_as_unlabelled(folder: Path) -> None:
    rows = [BOTH, NONE, NONE._replace(path="in/sure.png", review=False), SEVEN._replace(label="_unlabelled")]
    images(*(row.path for row in rows))
    with closing(Sorter("out")) as sorter:
        sorter.write(rows, origins(rows))
        sorter.finish()
        assert sorter.failed == 0
    assert sorted(str(file.relative_to("out")) for file in Path("out").rglob("*.png")) == [
        "%5Funlabelled/7.png",
        "_review/_unlabelled/none.png",
        "_unlabelled/sure.png",
        "dog/both.png",
    ]


def test_pandas_has_a_list_of_labels(folder: Path) -> None:
    def batches() -> Iterator[list[Row]]:
        yield SEVERAL

    frame = Rows("job", batches).to_pandas()
    assert list(frame.columns) == list(Row._fields)
    assert frame.labels.tolist() == [("dog", "cat"), (), None, None]
    assert frame.label.tolist() == ["dog|cat", None, None, "7"]
