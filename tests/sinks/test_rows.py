"""Rows that are read back from the lines of an earlier run."""

import csv
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import UsageError
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import LineFormat
from pigeonhole.sinks.registry import FORMATS
from tests.sinks.formats import CSV, JSONL, SAFE
from tests.sinks.test_sinks import MODEL, SEVEN

NAMES = st.builds(
    lambda first, name: first + os.fsdecode(name.replace(b"\0", b"/")),
    st.sampled_from(["", *"=+-@\t\r'"]),
    st.binary(min_size=1, max_size=20),
)
PREDICTIONS = st.builds(
    lambda path, label, p, review, error, unknown: (
        Row(path, "", None, False, error, MODEL, ())
        if error
        else Row(path, label, p, review, "", MODEL, ((label, p),), unknown=unknown)
    ),
    NAMES,
    st.sampled_from(["7", 'a "b", c', "two\nlines", "\r", "-1", "'quoted'"]),
    st.integers(0, 10**6).map(lambda ppm: ppm / 10**6),
    st.booleans(),
    st.sampled_from(["", "", "broken: why, because\r\n"]),
    st.none() | st.floats(0, 1),
)
MANY = st.lists(PREDICTIONS, max_size=5)


def read_back(data: bytes, format: LineFormat) -> list[Row]:
    found = list(format.scan(io.BytesIO(data)))
    assert b"".join(line for line, _ in found) == data[len(format.header) :][: sum(len(line) for line, _ in found)]
    return [row for _, row in found]


@pytest.mark.parametrize("format", [CSV, JSONL, SAFE])
@given(rows=MANY)
def test_what_was_written_is_read_back(format: LineFormat, rows: list[Row]) -> None:
    expected = rows if format is JSONL else [row._replace(top=()) for row in rows]
    assert read_back(format.header + format.encode(rows), format) == expected


@pytest.mark.parametrize("format", [CSV, JSONL, SAFE])
@given(rows=MANY, data=st.data())
def test_of_what_was_cut_off_anywhere_the_whole_rows_are_read(
    format: LineFormat, rows: list[Row], data: st.DataObject
) -> None:
    whole = format.header + format.encode(rows)
    cut = data.draw(st.integers(0, len(whole)))
    there = sum(len(format.header + format.encode(rows[:count])) <= cut for count in range(1, len(rows) + 1))
    assert [row.path for row in read_back(whole[:cut], format)] == [row.path for row in rows[:there]]


@pytest.mark.parametrize("first", [*"=+-@\t\r'"])
def test_no_text_that_a_spreadsheet_takes_for_a_formula_is_left_in_safe_csv(first: str) -> None:
    text = f'{first}HYPERLINK("x",1)'
    given = SEVEN._replace(path=text, label=text, error=text, model=text, top=())
    [header, line] = csv.reader(io.StringIO((SAFE.header + SAFE.encode([given])).decode(), newline=""))
    assert header == CSV.header.decode().strip().split(",")
    assert [line[0], line[1], line[5], line[6]] == [f"'{text}"] * 4
    read = CSV.scan(io.BytesIO(SAFE.header + SAFE.encode([given])))
    assert [row for _, row in read] == [given], "our readers take the quotes away"
    plain = SEVEN._replace(top=())
    assert SAFE.encode([plain]) == CSV.encode([plain])


def test_a_quote_in_plain_csv_is_part_of_the_name() -> None:
    given = SEVEN._replace(path="'=a.png", top=())
    assert read_back(CSV.header + CSV.encode([given]), CSV) == [given]


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("csv", b"path,label\n", "it does not begin with path,label,confidence,unknown,review,error,model"),
        ("csv", CSV.header + CSV.encode([SEVEN]) + b"a,b\n", "its row 2 is invalid: b'a,b\\n' does not have 7 fields"),
        ("csv", CSV.header + b"a,7,high,,false,,m\n", "its row 1 is invalid: could not convert string"),
        ("csv", CSV.header + b'a"b",7,0.5,,false,,m\n', "its row 1 is invalid"),
        ("jsonl", b"\0\0\n", "its row 1 is invalid"),
        ("jsonl", b"[]\n", "its row 1 is invalid"),
        ("jsonl", JSONL.encode([SEVEN]).replace(b'"in/7.png"', b"7"), "its row 1 is invalid: 7 is not a text"),
        ("jsonl", JSONL.encode([SEVEN]).replace(b"in/7", b"\\ud800"), "its row 1 is invalid"),
        (
            "jsonl",
            JSONL.encode([SEVEN]).replace(b'"label": "7"', b'"label": 7', 1),
            "its row 1 is invalid: 7 is not a",
        ),
        (
            "jsonl",
            JSONL.encode([SEVEN]).replace(b'"confidence": ', b'"confidence": "x", "c": '),
            "its row 1 is invalid",
        ),
        ("jsonl", b"x" * (1 << 23) + b"\n", "its row 1 is invalid: it is longer than 8,388,608 bytes"),
        ("csv", CSV.header + b'"' + b"x\n" * (1 << 23), "its row 1 is invalid"),
    ],
)
def test_what_we_did_not_write_is_told_with_its_row(format: str, data: bytes, message: str) -> None:
    with pytest.raises(UsageError) as error:
        list(FORMATS[format].lines.scan(io.BytesIO(data)))
    assert str(error.value).startswith(message)


def test_an_empty_file_has_no_rows() -> None:
    assert read_back(b"", CSV) == read_back(b"", JSONL) == []
