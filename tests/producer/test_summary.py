import io
import json
import sys

import pytest

from producer.progress import LINE_EVERY, progress
from producer.summary import Summary, duration, job_text, jobs_table
from tests.contract.conftest import Clock
from worker.contract.errors import BrokerUnreachable
from worker.contract.jobs import JobStatus
from worker.contract.messages import Prediction

MODEL = "digits@0123456789ab"


def status(**changes: object) -> JobStatus:
    known: dict[str, object] = {"job": "20270115-080000-abc123", "state": "finished", "model": "digits"}
    times = {"created": 1000.0, "started": 1010.0, "finished": 1012.5}
    return JobStatus(**(known | times | changes))  # type: ignore[arg-type]


def rows(labels: int = 0, reviews: int = 0, errors: tuple[str, ...] = ()) -> list[Prediction]:
    label = Prediction("a.png", "7", 0.9, False, "", MODEL, (("7", 0.9),))
    return [
        *[label] * labels,
        *[label._replace(review=True)] * reviews,
        *[Prediction("x.png", "", None, False, f"{kind}: why: because", MODEL, ()) for kind in errors],
    ]


def summary(*parts: list[Prediction]) -> Summary:
    made = Summary()
    for part in parts:
        made.add(part)
    return made


def test_a_summary_tells_images_labels_errors_and_reviews() -> None:
    made = summary(rows(labels=1500), rows(reviews=2, errors=("broken", "missing", "broken")))
    assert made.to_text(status(), 0.0) == (
        "1,505 images in 2.5 s (602 images/s)\n"
        "1,502 labels, 3 errors, 2 to review\n"
        "errors: 2 broken, 1 missing\n"
        "by digits@0123456789ab"
    )


def test_a_summary_without_errors_lists_none_and_counts_one_as_one() -> None:
    assert summary(rows(labels=1)).to_text(status(finished=1010.5), 1.26) == (
        "1 image in 0.5 s (2 images/s; start-up took 1.3 s)\n1 label, 0 errors, 0 to review\nby digits@0123456789ab"
    )


def test_a_summary_of_no_time_has_no_rate() -> None:
    assert (
        summary(rows(labels=1))
        .to_text(status(started=1010.0, finished=1010.0), 0.0)
        .startswith("1 image in 0.0 s (at once)\n")
    )
    assert summary(rows(labels=1)).to_json(status(finished=1010.0), 0.0)["images_per_second"] is None


def test_a_summary_as_json_has_these_keys() -> None:
    made = summary(rows(labels=4, reviews=1, errors=("missing", "broken", "missing")))
    said = made.to_json(status(), 1.23456)
    assert json.loads(json.dumps(said)) == {
        "job": "20270115-080000-abc123",
        "images": 8,
        "kept": 0,
        "labels": 5,
        "errors": 3,
        "errors_by_kind": {"broken": 1, "missing": 2},
        "reviews": 1,
        "seconds": 2.5,
        "images_per_second": 3.2,
        "startup_seconds": 1.235,
        "model": MODEL,
    }


def test_a_job_that_two_models_worked_on_names_both() -> None:
    other = [row._replace(model="digits@ba9876543210") for row in rows(labels=1)]
    made = summary(rows(labels=1), other)
    assert made.to_json(status(), 0.0)["model"] == f"{MODEL}, digits@ba9876543210"


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ({}, 2.5),
        ({"started": None, "finished": None}, 0.0),
        ({"finished": None}, 0.0),
        ({"started": None}, 0.0),
        ({"finished": 1009.0}, 0.0),
    ],
)
def test_a_job_takes_from_its_first_claim_to_its_end(times: dict[str, float | None], seconds: float) -> None:
    assert duration(status(**times)) == seconds


def test_a_job_in_full_has_a_line_for_each_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    said = job_text(
        status(
            sources=("in", "b\x1b[2J\udcff"),
            batches=12,
            batches_waiting=3,
            batches_claimed=1,
            images=2000,
            done=1500,
            errors=5,
            reviews=7,
        )
    ).splitlines()
    assert {line[:10].rstrip(): line[10:] for line in said if not line.startswith(("created", "finished"))} == {
        "job": "20270115-080000-abc123",
        "state": "finished",
        "model": "digits",
        "sources": r"in b\x1b[2J\udcff",
        "images": "2,000",
        "done": "1,500",
        "labels": "1,495",
        "errors": "5",
        "to review": "7",
        "batches": "12: 3 wait, 1 in hand",
        "images/s": "600",
    }


def test_an_open_job_is_not_yet_complete() -> None:
    said = job_text(status(state="open", started=None, finished=None, images=3))
    assert "images    3 so far: it is open" in said
    assert "finished " not in said
    assert "images/s" not in said


def test_all_jobs_are_a_table_that_obeys_nothing_in_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    table = jobs_table([status(images=2000, done=1500, errors=5, reviews=7), status(model="[red]\x1b[2J")])
    Console(file=sys.stdout, width=120).print(table)
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["job", "state", "model", "images", "done", "errors", "review"]
    assert first.split() == ["20270115-080000-abc123", "finished", "digits", "2,000", "1,500", "5", "7"]
    assert second.split()[2] == r"[red]\x1b[2J"


def test_a_summary_tells_how_many_rows_were_kept_and_counts_only_the_others_as_fast() -> None:
    made = summary()
    for row in rows(labels=1000, errors=("broken",)):
        made.keep(row)
    made.add(rows(labels=500))
    assert made.to_text(status(), 0.0) == (
        "1,501 images, 1,001 of them kept, in 2.5 s (200 images/s)\n"
        "1,500 labels, 1 error, 0 to review\n"
        "errors: 1 broken\n"
        "by digits@0123456789ab"
    )
    said = made.to_json(status(), 0.0)
    assert (said["images"], said["kept"], said["images_per_second"]) == (1501, 1001, 200.0)


# Progress


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as shown:
        shown.show(status())
    assert capsys.readouterr() == ("", "")


def test_where_there_is_no_terminal_a_line_tells_now_and_then(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with progress(quiet=False, clock=clock) as shown:
        shown.show(status(state="open", images=500, done=0))
        clock += LINE_EVERY - 1
        shown.show(status(state="open", images=900, done=100))
        clock += 1
        shown.show(status(state="open", images=2000, done=1000, errors=1))
        shown.show(status(state="closed", images=2000, done=1100))
        clock += LINE_EVERY
        shown.show(status(state="closed", images=2000, done=1500, errors=3))
    assert capsys.readouterr() == ("", "1,000 of 2,000… images, 1 error\n1,500 of 2,000 images, 3 errors\n")


def test_an_outage_is_told_and_its_end(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    away = BrokerUnreachable("no answer from Redis at redis://a: refused; is it running?")
    for quiet, expected in ((True, ""), (False, f"waiting for Redis: {away}\nRedis is back\n")):
        with progress(quiet=quiet, clock=clock) as shown:
            shown.away(away)
            shown.back()
        assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("no answer from Redis at redis://a: refused; is it running?", "Redis is away, waiting"),
        ("Redis at redis://a is full: OOM; raise its maxmemory or delete jobs", "Redis is full, waiting"),
    ],
)
def test_on_a_terminal_the_bar_tells_of_an_outage_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch, said: str, expected: str
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for over in (False, True):
        with progress(quiet=False) as shown:
            shown.away(BrokerUnreachable(said))
            if over:
                shown.back()
            shown.show(status(state="closed", images=2000, done=1000))  # a full one still answers
        written = terminal.getvalue()
        assert (expected in written, "classifying" in written) == (not over, over)
        terminal.truncate(0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_tells_and_is_gone_in_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress(quiet=False) as shown:
        shown.show(status(state="open", started=None, images=500))
        shown.show(status(state="closed", images=2000, done=1500))
    written = terminal.getvalue()
    assert "classifying" in written
    assert "1,500/2,000 images" in written
    assert written.endswith("\x1b[2K"), "the bar's line is cleared"
    assert capsys.readouterr().out == ""
