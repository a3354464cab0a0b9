"""Rows as lines of CSV and JSONL, byte for byte."""

import csv
import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.sinks.sink import Stream
from tests.sinks.formats import CSV, JSONL
from tests.sinks.rows import HEADER, MODEL, ROWS, SEVEN, named, write_all


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(os.fsdecode(data), newline="")))


# CSV


def test_csv_has_these_bytes() -> None:
    stream = io.BytesIO()
    write_all(Stream(stream, CSV), ROWS[:1], ROWS[1:])
    assert stream.getvalue() == (
        b"path,label,confidence,unknown,review,error,model\n"
        b"in/7.png,7,0.999999,2e-06,false,,digits@0123456789ab\n"
        b"in/4.png,4,0.5,,true,,digits@0123456789ab\n"
        b"in/x.png,,,,false,missing: no such file,digits@0123456789ab\n"
    )


@pytest.mark.parametrize(
    ("name", "encoded"),
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
def test_csv_quotes_separators_quotes_and_line_breaks(name: bytes, encoded: bytes) -> None:
    assert CSV.encode([named(name)]) == encoded + b",7,0.999999,2e-06,false,,digits@0123456789ab\n"


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name), min_size=1, max_size=5))
def test_any_paths_are_read_back_from_csv_byte_for_byte(names: list[bytes]) -> None:
    data = HEADER + CSV.encode([named(name) for name in names])
    assert [os.fsencode(row["path"]) for row in read_csv(data)] == names


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(texts, texts, texts)
def test_any_labels_errors_and_models_are_read_back_from_csv(label: str, error: str, model: str) -> None:
    row = SEVEN._replace(label=label, error=error, model=model)
    [again] = read_csv(HEADER + CSV.encode([row]))
    assert (again["label"], again["error"], again["model"]) == (label, error, model)


def test_csv_without_rows_is_only_its_header() -> None:
    stream = io.BytesIO()
    write_all(Stream(stream, CSV))
    assert stream.getvalue() == HEADER


# JSONL


def test_jsonl_has_the_columns_of_csv_and_the_top_classes() -> None:
    seven, doubtful, missing = (json.loads(line) for line in JSONL.encode(ROWS).splitlines())
    assert list(seven) == ["path", "label", "confidence", "review", "error", "model", "top", "unknown"]
    assert "unknown" not in doubtful, "its model has no output for unknown images"
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
def test_any_path_is_read_back_from_jsonl_byte_for_byte(name: bytes) -> None:
    line = JSONL.encode([named(name)])
    assert line.count(b"\n") == 1
    line.decode()  # UTF-8
    assert os.fsencode(json.loads(line)["path"]) == name


def test_jsonl_without_rows_is_empty_and_does_not_escape_letters() -> None:
    stream = io.BytesIO()
    write_all(Stream(stream, JSONL))
    assert stream.getvalue() == b""
    assert "caf\u00e9".encode() in JSONL.encode([named("caf\u00e9")])
