"""Rows that are read back from the lines of an earlier run."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import UsageError
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.format import LineFormat
from pigeonhole.sinks.registry import FORMATS
from tests.messages import check_message
from tests.sinks.formats import CSV, JSONL, SAFE
from tests.sinks.rows import MANY, SEVEN, read_back


@pytest.mark.parametrize("format", [CSV, JSONL, SAFE])
@given(rows=MANY)
def test_written_rows_are_read_back_unchanged(format: LineFormat, rows: list[Row]) -> None:
    expected = rows if format is JSONL else [row._replace(top=()) for row in rows]
    assert read_back(format.header + format.encode(rows), format) == expected


@pytest.mark.parametrize("format", [CSV, JSONL, SAFE])
@given(rows=MANY, data=st.data())
def test_the_complete_rows_of_a_truncated_file_are_read(
    format: LineFormat, rows: list[Row], data: st.DataObject
) -> None:
    whole = format.header + format.encode(rows)
    cut = data.draw(st.integers(0, len(whole)))
    complete = sum(len(format.header + format.encode(rows[:count])) <= cut for count in range(1, len(rows) + 1))
    assert [row.path for row in read_back(whole[:cut], format)] == [row.path for row in rows[:complete]]


@pytest.mark.parametrize("first", [*"=+-@\t\r'"])
def test_safe_csv_has_no_text_that_a_spreadsheet_reads_as_a_formula(first: str) -> None:
    text = f'{first}HYPERLINK("x",1)'
    row = SEVEN._replace(path=text, label=text, error=text, model=text, top=())
    [header, line] = csv.reader(io.StringIO((SAFE.header + SAFE.encode([row])).decode(), newline=""))
    assert header == CSV.header.decode().strip().split(",")
    assert [line[0], line[1], line[5], line[6]] == [f"'{text}"] * 4
    read = CSV.scan(io.BytesIO(SAFE.header + SAFE.encode([row])))
    assert [found for _, found in read] == [row], "our readers remove the quotes"
    plain = SEVEN._replace(top=())
    assert SAFE.encode([plain]) == CSV.encode([plain])


def test_a_leading_quote_in_plain_csv_is_part_of_the_path() -> None:
    row = SEVEN._replace(path="'=a.png", top=())
    assert read_back(CSV.header + CSV.encode([row]), CSV) == [row]


@pytest.mark.parametrize(
    ("format", "data", "parts"),
    [
        ("csv", b"path,label\n", ["path,label,confidence,unknown,review,error,model"]),
        ("csv", CSV.header + CSV.encode([SEVEN]) + b"a,b\n", ["row 2 ", r"b'a,b\n'", "7 fields"]),
        ("csv", CSV.header + b"a,7,high,,false,,m\n", ["row 1 ", "'high'"]),
        ("csv", CSV.header + b'a"b",7,0.5,,false,,m\n', ["row 1 "]),
        ("jsonl", b"\0\0\n", ["row 1 "]),
        ("jsonl", b"[]\n", ["row 1 "]),
        ("jsonl", JSONL.encode([SEVEN]).replace(b'"in/7.png"', b"7"), ["row 1 ", "7 is not a text"]),
        ("jsonl", JSONL.encode([SEVEN]).replace(b"in/7", b"\\ud800"), ["row 1 "]),
        (
            "jsonl",
            JSONL.encode([SEVEN]).replace(b'"label": "7"', b'"label": 7', 1),
            ["row 1 ", "7 is not a"],
        ),
        (
            "jsonl",
            JSONL.encode([SEVEN]).replace(b'"confidence": ', b'"confidence": "x", "c": '),
            ["row 1 "],
        ),
        ("jsonl", b"x" * (1 << 23) + b"\n", ["row 1 ", "8,388,608 bytes"]),
        ("csv", CSV.header + b'"' + b"x\n" * (1 << 23), ["row 1 "]),
    ],
)
def test_an_invalid_row_is_refused_with_its_number(format: str, data: bytes, parts: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        list(FORMATS[format].lines.scan(io.BytesIO(data)))
    check_message(error.value, *parts)


def test_an_empty_file_has_no_rows() -> None:
    assert read_back(b"", CSV) == read_back(b"", JSONL) == []
