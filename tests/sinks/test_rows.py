"""Rows that are read back: what a run goes on with is what an earlier one wrote."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import UsageError
from pigeonhole.ledger.messages import Prediction
from pigeonhole.sinks.rows import CSV_HEADER, Format, read, to_csv, to_jsonl
from tests.sinks.test_sinks import MODEL, SEVEN

ENCODE = {Format.csv: lambda rows: CSV_HEADER + to_csv(rows), Format.jsonl: to_jsonl}
NAMES = st.binary(min_size=1, max_size=20).map(lambda name: os.fsdecode(name.replace(b"\0", b"/")))
PREDICTIONS = st.builds(
    lambda path, label, p, review, error: Prediction(
        path, *(("", None, False, error, MODEL, ()) if error else (label, p, review, "", MODEL, ((label, p),)))
    ),
    NAMES,
    st.sampled_from(["7", 'a "b", c', "two\nlines", "\r"]),
    st.integers(0, 10**6).map(lambda ppm: ppm / 10**6),
    st.booleans(),
    st.sampled_from(["", "", "broken: why, because\r\n"]),
)
MANY = st.lists(PREDICTIONS, max_size=5)


def read_back(data: bytes, format: Format) -> list[Prediction]:
    found = list(read(io.BytesIO(data), format))
    assert (
        b"".join(line for line, _ in found)
        == data[len(CSV_HEADER) if format is Format.csv else 0 :][: sum(len(line) for line, _ in found)]
    )
    return [row for _, row in found]


@pytest.mark.parametrize("format", ENCODE)
@given(rows=MANY)
def test_what_was_written_is_read_back(format: Format, rows: list[Prediction]) -> None:
    expected = rows if format is Format.jsonl else [row._replace(top=()) for row in rows]
    assert read_back(ENCODE[format](rows), format) == expected


@pytest.mark.parametrize("format", ENCODE)
@given(rows=MANY, data=st.data())
def test_of_what_was_cut_off_anywhere_the_whole_rows_are_read(
    format: Format, rows: list[Prediction], data: st.DataObject
) -> None:
    whole = ENCODE[format](rows)
    cut = data.draw(st.integers(0, len(whole)))
    there = sum(len(ENCODE[format](rows[:count])) <= cut for count in range(1, len(rows) + 1))
    assert [row.path for row in read_back(whole[:cut], format)] == [row.path for row in rows[:there]]


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("csv", b"path,label\n", "it does not begin with path,label,confidence,review,error,model"),
        ("csv", CSV_HEADER + to_csv([SEVEN]) + b"a,b\n", "its row 2 is no row of ours: b'a,b\\n' has not 6 fields"),
        ("csv", CSV_HEADER + b"a,7,high,false,,m\n", "its row 1 is no row of ours: could not convert string"),
        ("csv", CSV_HEADER + b'a"b",7,0.5,false,,m\n', "its row 1 is no row of ours"),
        ("jsonl", b"\0\0\n", "its row 1 is no row of ours"),
        ("jsonl", b"[]\n", "its row 1 is no row of ours"),
        ("jsonl", to_jsonl([SEVEN]).replace(b'"in/7.png"', b"7"), "its row 1 is no row of ours: 7 is not a text"),
        ("jsonl", to_jsonl([SEVEN]).replace(b"in/7", b"\\ud800"), "its row 1 is no row of ours"),
        (
            "jsonl",
            to_jsonl([SEVEN]).replace(b'"label": "7"', b'"label": 7', 1),
            "its row 1 is no row of ours: 7 is not a",
        ),
        (
            "jsonl",
            to_jsonl([SEVEN]).replace(b'"confidence": ', b'"confidence": "x", "c": '),
            "its row 1 is no row of ours",
        ),
        ("jsonl", b"x" * (1 << 23) + b"\n", "its row 1 is no row of ours: it is longer than 8,388,608 bytes"),
        ("csv", CSV_HEADER + b'"' + b"x\n" * (1 << 23), "its row 1 is no row of ours"),
    ],
)
def test_what_we_did_not_write_is_told_with_its_row(format: str, data: bytes, message: str) -> None:
    with pytest.raises(UsageError) as error:
        list(read(io.BytesIO(data), Format(format)))
    assert str(error.value).startswith(message)


def test_an_empty_file_has_no_rows() -> None:
    assert read_back(b"", Format.csv) == read_back(b"", Format.jsonl) == []
