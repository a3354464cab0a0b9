"""Each log record is one line in both formats, whatever text its message contains."""

import json
import logging
import sys
from typing import Any

import pytest

from worker.monitoring import logs

#: A line break and a forged line, an escape sequence for terminals, a byte that is not UTF-8, Unicode line breaks.
HOSTILE = "a\n[2026-01-01 00:00:00,000: INFO/MainProcess] forged\x1b]0;owned\x07\udcff\u2028\x85b"
FORMATS: dict[str, logging.Formatter] = {
    "text": logs.TextLines("[%(levelname)s/%(processName)s] %(message)s", use_color=False),
    "json": logs.JsonLines(),
}


def make_record(message: str, *arguments: object, exc_info: Any = None, **extra: str) -> logging.LogRecord:
    record = logging.getLogger("worker.tasks").makeRecord(
        "worker.tasks", logging.ERROR, __file__, 1, message, arguments, exc_info, extra=extra
    )
    record.processName = "PoolWorker-1"
    return record


def exc_info_of(message: str) -> Any:
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("message", [("%s", HOSTILE), (HOSTILE,)])
def test_control_characters_are_escaped_in_one_line(form: str, message: tuple[str, ...]) -> None:
    line = FORMATS[form].format(make_record(*message))
    assert line.isprintable()
    assert line.encode("ascii" if form == "json" else "utf-8")
    shown = json.loads(line)["message"] if form == "json" else line
    assert r"\udcff" in shown


def test_a_traceback_is_indented_and_none_of_its_lines_looks_like_a_record() -> None:
    first, *others = FORMATS["text"].format(make_record("it failed", exc_info=exc_info_of(HOSTILE))).split("\n")
    assert first == "[ERROR/PoolWorker-1] it failed"
    assert others[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert any("forged" in line for line in others)


def test_in_json_a_traceback_is_one_field() -> None:
    line = FORMATS["json"].format(make_record("it failed", exc_info=exc_info_of(HOSTILE)))
    fields = json.loads(line)
    assert line.isprintable()
    assert fields["traceback"].startswith("Traceback (most recent call last):\n")
    assert {name: fields[name] for name in ("level", "logger", "message", "process")} == {
        "level": "ERROR",
        "logger": "worker.tasks",
        "message": "it failed",
        "process": "PoolWorker-1",
    }
    assert fields["time"].endswith("+00:00")


def test_a_record_inside_a_batch_context_names_the_batch_and_its_job() -> None:
    with logs.batch_context("a job", "17:0:1"):
        fields = json.loads(FORMATS["json"].format(make_record("whatever")))
    assert (fields["job"], fields["batch"]) == ("a job", "17:0:1")
    assert not {"job", "batch"} & json.loads(FORMATS["json"].format(make_record("whatever"))).keys()


def test_a_record_outside_a_batch_context_can_name_a_batch() -> None:
    fields = json.loads(FORMATS["json"].format(make_record("ended", **logs.extra_for("a job", "17"))))
    assert (fields["job"], fields["batch"]) == ("a job", "17")
