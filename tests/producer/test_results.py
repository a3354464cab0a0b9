"""Results that are read back, whatever they were written in."""

from pathlib import Path

import pytest

from producer.results import read_results
from producer.rows import CSV_HEADER, Format, to_csv, to_jsonl
from tests.producer.test_sinks import ROWS
from worker.contract.errors import UsageError


def test_rows_are_read_back_as_often_as_they_are_asked_for(folder: Path) -> None:
    Path("rows.csv").write_bytes(CSV_HEADER + to_csv(ROWS))
    Path("rows.jsonl").write_bytes(to_jsonl(ROWS))
    Path("rows.txt").write_bytes(to_jsonl(ROWS))
    assert list(read_results("rows.jsonl")) == ROWS
    assert list(read_results("rows.txt", format=Format.jsonl)) == ROWS
    results = read_results("rows.csv")
    for _ in range(2):
        assert list(results) == [row._replace(top=()) for row in ROWS]
    assert results.job is None, "such a file says nothing of its job"


def test_what_holds_no_results_is_told(folder: Path) -> None:
    Path("rows.csv").write_text("image,class\n")
    with pytest.raises(UsageError, match="^'rows.csv' holds no results of ours: it does not begin with path,label,"):
        list(read_results("rows.csv"))
    with pytest.raises(UsageError, match="^'gone.csv' can't be read: No such file or directory$"):
        read_results("gone.csv")
