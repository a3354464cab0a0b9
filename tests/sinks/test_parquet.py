"""Parquet files."""

import re
import sys
from pathlib import Path

import pytest

from pigeonhole.errors import UsageError
from pigeonhole.sinks import parquet
from pigeonhole.sinks.parquet import Parquet
from pigeonhole.sinks.registry import read_results
from pigeonhole.version import install_hint
from producer.arguments.outputs import row_format
from tests.sinks.result_files import write
from tests.sinks.rows import ROWS, SEVEN, named


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


def test_parquet_row_groups_have_a_limited_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    monkeypatch.setattr(Parquet, "chunk", 10)
    monkeypatch.setattr(parquet, "GROUP", 4)
    rows = [SEVEN._replace(path=f"{number}.png", label=str(number % 7)) for number in range(100)]
    write(rows, "rows.parquet")
    metadata = pyarrow.parquet.ParquetFile("rows.parquet").metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [40, 40, 20]
    assert list(read_results("rows.parquet")) == rows


def test_without_pyarrow_parquet_is_refused_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=f"pyarrow.*`{re.escape(install_hint('parquet'))}`"):
        row_format("rows.parquet", None)


def test_a_foreign_parquet_file_is_refused(folder: Path) -> None:
    import pandas

    Path("rows.parquet").write_bytes(b"PAR1, and no more")
    with pytest.raises(UsageError, match=r"'rows.parquet' "):
        read_results("rows.parquet")
    pandas.DataFrame({"path": ["a"], "label": ["7"]}).to_parquet("rows.parquet")
    with pytest.raises(UsageError, match=r"'rows.parquet' .*confidence, error, model, path_bytes, review, top$"):
        read_results("rows.parquet")
