"""The table on a terminal, which obeys no control character of a row."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.text import printable
from producer.display.table import TABLE_ROWS, Table
from tests.sinks.rows import DOUBTFUL, MISSING, ROWS, named, write_all


def table_of(rows: list[Row], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "120")
    table = Table()
    for row in rows:
        table.write([row])
    table.finish()
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_table_shows_its_rows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    header, *lines = table_of(ROWS, capsys, monkeypatch)
    assert header.split() == ["path", "label", "confidence", "review", "error"]
    assert [line.split() for line in lines] == [
        ["in/7.png", "7", "1.0000"],
        ["in/4.png", "4", "0.5000", "yes"],
        ["in/x.png", "missing:", "no", "such", "file"],
    ]


@pytest.mark.parametrize("count", [TABLE_ROWS - 1, TABLE_ROWS, TABLE_ROWS + 1, 2 * TABLE_ROWS + 1200])
def test_a_table_shows_a_limited_number_of_rows_and_counts_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    lines = table_of([named(f"{number}.png") for number in range(count)], capsys, monkeypatch)
    assert [line.split()[0] for line in lines[1 : TABLE_ROWS + 1]] == [
        f"{number}.png" for number in range(min(count, TABLE_ROWS))
    ]
    more = count - TABLE_ROWS
    assert lines[TABLE_ROWS + 1 :] == ([f"… and {more:,} more rows; -o FILE keeps all of them"] if more > 0 else [])


def test_rows_of_large_batches_are_counted_alike(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    write_all(table, ROWS * 5, ROWS * 5, ROWS * 5)
    assert f"… and {45 - TABLE_ROWS} more rows" in capsys.readouterr().out


def test_a_table_escapes_control_characters_and_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = b"[red]a[/red]\x1b[2J\x07\r\ncaf\xe9.png"
    row = MISSING._replace(path=os.fsdecode(name), error="broken: [/] \x1b]0;x\x07 \u202e")
    label = DOUBTFUL._replace(label="[bold]\x1b[1m")
    out = "\n".join(table_of([row, label], capsys, monkeypatch))
    assert r"[red]a[/red]\x1b[2J\x07\r\ncaf\udce9.png" in out
    assert r"broken: [/] \x1b]0;x\x07 \u202e" in out
    assert r"[bold]\x1b[1m" in out
    assert "\x1b" not in out


@given(st.text())
def test_printable_text_has_no_control_characters(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()


def test_printable_keeps_letters_and_digits() -> None:
    assert printable("caf\u00e9 \u6570 a.png") == "caf\u00e9 \u6570 a.png"
