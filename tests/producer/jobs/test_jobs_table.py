"""The table of all jobs fits its line, and never cuts an id."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.workers import Announcement
from producer.jobs.table import jobs_table
from tests.jobs.summaries import status

JOB = "20270115-080000-abc123"
ONE = Announcement(name="celery@one", model="digits", digest="d", version="1")
TWO = Announcement(name="celery@two", model="digits", digest="d", version="1")
LARGE = status(
    state=JobState.RUNNING,
    submitting=True,
    model="sign-language-digits",
    sources=("/data/archive/2026/holiday photos", "more"),
    read_at=1000.0 + 3 * 86_400,
    finished=None,
    images=1_234_567,
    done=234_567,
    errors=12_345,
    reviews=6_789,
)


def lines(statuses: Sequence[JobStatus], width: int | None) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=width or 1000).print(jobs_table(statuses, [ONE, TWO], width))
    return output.getvalue().splitlines()


def test_a_line_has_all_columns_of_a_job() -> None:
    running = status(state=JobState.RUNNING, sources=("photos",), read_at=1130.0, finished=None, images=2000, done=1500)
    header, first, second = lines([running, status(images=5, done=5, errors=1, reviews=2, read_at=1e6)], None)
    columns = ["job", "state", "age", "model", "source", "images", "img/s", "errors", "review", "workers"]
    assert header.split() == columns
    assert first.split() == [JOB, "running", "2m", "digits", "photos", "1,500/2,000", "12", "0", "0", "2"]
    assert second.split() == [JOB, "finished", "12d", "digits", "5/5", "2", "1", "2"], "a finished job has no workers"


def test_a_line_of_a_job_of_another_version_has_its_id_and_state_only() -> None:
    _, line = lines([status(state=JobState.UNREADABLE, model="", read_at=1130.0)], None)
    assert line.split() == [JOB, "unreadable"]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120])
def test_an_id_and_a_state_are_never_cut_and_no_line_is_longer_than_the_terminal(width: int) -> None:
    unreadable = status(state=JobState.UNREADABLE, model="")
    for line, job in zip(lines([LARGE, unreadable], width)[1:], (LARGE, unreadable), strict=True):
        assert line.startswith(JOB)
        assert width < 36 or line.split()[1] == job.state
        assert len(line) <= width


def test_at_80_columns_sources_and_models_are_cut_and_numbers_short() -> None:
    _, line = lines([LARGE], 80)
    assert line.split()[:3] == [JOB, "running", "3d"]
    assert "sign-" in line
    assert "235k/1.2M…" in line


def test_markup_and_control_sequences_in_names_are_shown_as_text() -> None:
    _, line = lines([status(model="[red]\x1b[2J", sources=("\x1b[2J\udcff",))], None)
    assert line.split()[3:5] == [r"[red]\x1b[2J", r"\x1b[2J\udcff"]


def test_the_end_of_a_source_is_kept() -> None:
    long = status(sources=("/data/archive/2026/a folder with a long name/photos",))
    (line,) = lines([long], 90)[1:]
    assert "…" in line
    assert "/photos" in line
