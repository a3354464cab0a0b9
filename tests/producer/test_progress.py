"""Progress while a job runs, and `status --watch`: on a terminal in memory, on a dumb terminal, and in a log."""

import io
import sys
from collections.abc import Callable
from dataclasses import replace

import pyte
import pytest
from rich.console import Console, ConsoleDimensions

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Logged, Retrying
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.status import JobState
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from producer.command import Notices
from producer.display.progress import LINE_EVERY, JobProgress, workers_text
from producer.jobs.watch import jobs_screen, watch_job, watch_jobs
from tests.faults.server import RedisServer
from tests.jobs.outage.conftest import own, server
from tests.jobs.summaries import status
from tests.ledger.conftest import Clock, answers_for, batch_of, open_job, piece

__all__ = ["own", "server"]

ONE = Announcement(name="celery@one", model="digits", digest="d", version="1", processes=2)
TWO = Announcement(name="celery@two", model="digits", digest="d", version="1", processes=2)
AWAY = BrokerUnreachable("no answer from Redis at redis://a: refused; is it running?")


class Terminal(io.StringIO):
    """A terminal in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.Stream(self._screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))  # like a terminal
        return super().write(text)

    def lines(self) -> list[str]:
        """Return the visible lines, without empty lines at the end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return terminal


def test_quiet_prints_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    with JobProgress(quiet=True, clock=clock) as progress:
        progress.show_workers([ONE])
        clock += LINE_EVERY
        progress.show(status(state=JobState.RUNNING, images=2000, done=1500))
    assert terminal.getvalue() == ""


# Without a terminal


def follow_for_ten_seconds(clock: Clock) -> None:
    """Show a job that is being submitted, and close it later."""
    with JobProgress(clock=clock) as progress:
        progress.show(status(state=JobState.RUNNING, submitting=True, images=500, done=0))
        clock += LINE_EVERY - 1
        progress.show(status(state=JobState.RUNNING, submitting=True, images=900, done=100))
        progress.show_workers([ONE])
        clock += 1
        progress.show(status(state=JobState.RUNNING, submitting=True, images=2000, done=300, errors=1))
        progress.show(status(state=JobState.RUNNING, images=2000, done=400))
        progress.show_workers([ONE, TWO])
        clock += LINE_EVERY
        progress.show(status(state=JobState.RUNNING, images=2000, done=1400, errors=3, reviews=12))


LINES = (
    "300 of 2,000… images, 200/s, 1 error, 0 to review, 1 worker (2 processes)\n"
    "1,400 of 2,000 images, 200/s, 0:00:03 left, 3 errors, 12 to review, 2 workers (4 processes)\n"
)


def test_without_a_terminal_a_line_is_printed_every_few_seconds(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    follow_for_ten_seconds(clock)
    assert capsys.readouterr() == ("", LINES)


def test_a_terminal_without_a_movable_cursor_has_the_same_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", terminal)
    follow_for_ten_seconds(clock)
    assert terminal.getvalue() == LINES


def test_a_pipe_has_lines_even_if_colours_are_forced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    follow_for_ten_seconds(clock)
    assert capsys.readouterr() == ("", LINES)


def test_the_speed_is_that_of_the_last_half_minute(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    done = 0
    with JobProgress(clock=clock) as progress:
        for second in range(100):
            done += 100 if second < 50 else 10
            clock += 1
            progress.show(status(state=JobState.RUNNING, images=10_000_000, done=done))
    lines = capsys.readouterr().err.splitlines()
    assert ", 100/s, 1 day, 3:" in lines[5]
    assert ", 10/s, 11 days, " in lines[-1]


def test_images_done_before_the_first_status_do_not_count_as_speed(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with JobProgress(clock=clock) as progress:
        for done in (15_000, 15_100, 15_200):
            progress.show(status(state=JobState.RUNNING, images=20_000, done=done))
            clock += LINE_EVERY
    assert capsys.readouterr().err.splitlines()[-1].startswith("15,200 of 20,000 images, 20/s, 0:04:00 left, ")


def test_workers_whose_processes_have_not_announced_themselves_are_starting() -> None:
    assert workers_text([replace(ONE, processes=0)]) == "1 worker (starting)"
    assert workers_text([replace(ONE, processes=0), TWO]) == "2 workers"


def test_a_worker_is_not_starting_while_rows_arrive(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with JobProgress(clock=clock) as progress:
        progress.show_workers([replace(ONE, processes=0)])
        for done in (0, 0, 50):
            progress.show(status(state=JobState.RUNNING, images=100, done=done))
            clock += LINE_EVERY
    starting, at_work = capsys.readouterr().err.splitlines()
    assert starting.endswith(", 1 worker (starting)")
    assert at_work.endswith(", 1 worker")


def test_a_resumed_run_counts_earlier_rows_as_done_but_not_as_speed(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with JobProgress(clock=clock, kept=15_000) as progress:
        progress.show(status(state=JobState.RUNNING, images=5_000, done=0))
        assert progress.tasks[0].percentage == 75
        for done in (0, 100, 200):
            progress.show(status(state=JobState.RUNNING, images=5_000, done=done))
            clock += LINE_EVERY
    assert capsys.readouterr().err.splitlines()[-1].startswith("15,200 of 20,000 images, 20/s, 0:04:00 left, ")


def test_an_outage_and_its_end_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    notices = Notices()
    notices.away(AWAY)
    notices.back()
    away, back = capsys.readouterr().err.splitlines()
    assert str(AWAY) in away
    assert "back" in back


def test_an_outage_and_its_end_are_logged_for_python_programs(caplog: pytest.LogCaptureFixture) -> None:
    shown = Logged()
    shown.away(AWAY)
    shown.back()
    away, back = (record.getMessage() for record in caplog.records)
    assert str(AWAY) in away
    assert "back" in back


# On a terminal


def test_a_terminal_shows_a_bar_and_the_details_below_it(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    with JobProgress(clock=clock) as progress:
        assert terminal.lines()[0].startswith("starting ━━━")
        progress.show(status(state=JobState.QUEUED, submitting=True, started=None, images=500, done=0))
        progress.refresh()
        waiting, details = terminal.lines()
        assert waiting.startswith("waiting for a worker ━━━")
        assert waiting.endswith("━ 0 of 500… images")
        assert details == "0 errors, 0 to review"
        progress.show_workers([ONE, TWO])
        for done in (0, 10_000, 15_000):
            progress.show(status(state=JobState.RUNNING, images=20_000, done=done, errors=3, reviews=120))
            clock += 10
        progress.refresh()
        classifying, details = terminal.lines()
        assert classifying.startswith("classifying ━━━")
        assert classifying.endswith(" 15,000 of 20,000 images")
        assert details == "500/s, 0:00:10 left, 3 errors, 120 to review, 2 workers (4 processes)"
    assert terminal.lines() == [""]


def test_the_bar_of_an_open_job_shows_no_percentage(clock: Clock) -> None:
    progress = JobProgress(clock=clock)
    progress.show(status(state=JobState.RUNNING, submitting=True, images=500, done=100))
    assert progress.tasks[0].total is None
    progress.show(status(state=JobState.RUNNING, images=500, done=100))
    assert progress.tasks[0].percentage == 20


def test_an_outage_is_printed_above_the_bar(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    with JobProgress() as progress:
        progress.show(status(state=JobState.RUNNING, images=2000, done=1000))
        Notices().away(BrokerUnreachable("Redis is full"))
        progress.refresh()
        notice, bar, details = terminal.lines()
    assert "Redis is full" in notice
    assert bar.endswith(" 1,000 of 2,000 images")
    assert details == "0 errors, 0 to review"
    assert terminal.lines() == [notice]


# status --watch


class Steps:
    """The `sleep` of a watch: each call runs one step, and after the last step the watch is interrupted."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    def __call__(self, seconds: float) -> None:
        if not self._steps:
            raise KeyboardInterrupt
        self._steps.pop(0)()


@pytest.fixture
def job_progress(monkeypatch: pytest.MonkeyPatch) -> JobProgress:
    """Return a progress that prints a line at every update."""
    monkeypatch.setattr("producer.display.progress.LINE_EVERY", 0)
    return JobProgress()


def finish_batch(ledger: Ledger, job: str, number: int, *paths: str) -> None:
    batch = batch_of(*paths)
    ledger.commit(job, piece(batch, number), answers_for(batch))


def test_one_job_is_watched_to_its_end_with_its_own_workers(
    settings: Settings, ledger: Ledger, job_progress: JobProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    job, workers = open_job(ledger), Workers(settings)
    workers.announce(ONE)
    workers.announce(Announcement(name="celery@other", model="letters", digest="d", version="1"))
    steps = (
        lambda: finish_batch(ledger, job, 0, "a.png", "b.png"),
        lambda: ledger.close(job, 2),
        lambda: finish_batch(ledger, job, 1, "c.png"),
    )
    watch_job(Connection(settings, Retrying()), job, job_progress, Steps(*steps))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "0 of 3… images",
        "2 of 3… images",
        "2 of 3 images",
        "3 of 3 images",
    ]
    assert all(line.endswith(", 1 worker (2 processes)") for line in lines)


def test_watching_a_job_waits_for_redis_and_prints_a_notice(
    server: RedisServer, own: Settings, job_progress: JobProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    class RestartsRedis(Notices):
        def away(self, exc: BrokerUnreachable) -> None:
            super().away(exc)
            server.start()

    client = Connection(own, Retrying(60, RestartsRedis()))
    job = client.create(["in"])
    watch_job(client, job, job_progress, Steps(server.kill, lambda: client.cancel(job)))
    first, away, back, *last = capsys.readouterr().err.splitlines()
    assert first.startswith("0 of 0… images")
    assert "waiting" in away
    assert own.broker_url in away
    assert "Redis is back" in back
    assert last[-1].startswith("0 of 0 images")


def test_in_a_log_all_jobs_have_a_line_for_each_change_until_an_interruption(
    settings: Settings, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    cancelled, job = open_job(ledger), open_job(ledger)
    ledger.cancel(cancelled)
    steps = (
        lambda: finish_batch(ledger, job, 0, "a.png", "b.png"),
        lambda: None,
        lambda: ledger.close(job, 2),
        lambda: ledger.cancel(open_job(ledger)),
    )
    watch_jobs(Connection(settings, Retrying()), Steps(*steps))
    new = ledger.statuses()[-1].job
    assert capsys.readouterr().out.splitlines() == [
        f"{job} queued: 0 of 3… images, 0 errors, 0 to review",
        f"{job} queued: 2 of 3… images, 0 errors, 0 to review",
        f"{job} queued: 2 of 3 images, 0 errors, 0 to review",
        f"{new} cancelled: 0 of 3 images, 0 errors, 0 to review",
    ]


def test_on_a_terminal_all_jobs_are_a_table_that_is_redrawn(
    settings: Settings, ledger: Ledger, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    frames: list[list[str]] = []
    jobs: list[str] = []
    steps = (
        lambda: frames.append(terminal.lines()),
        lambda: jobs.append(open_job(ledger)),
        lambda: frames.append(terminal.lines()),
        lambda: Notices().away(AWAY),
    )
    watch_jobs(Connection(settings, Retrying()), Steps(*steps))
    assert frames[0] == ["no jobs", "0 workers"]
    assert frames[1][1].split() == [jobs[0], "queued", "0s", "digits", "photos", "0/3…", "0", "0", "0"]
    assert str(AWAY)[:20] in terminal.lines()[0]
    assert terminal.lines()[2:] == frames[1][1:]


def test_the_newest_jobs_that_fit_the_terminal_are_shown() -> None:
    terminal = Terminal()
    jobs = [status(job=f"job-{number:03}") for number in reversed(range(100))]
    screen = jobs_screen(jobs, [ONE], ConsoleDimensions(80, 24))
    Console(file=terminal, width=80, height=24, force_terminal=True).print(screen)
    lines = terminal.lines()
    assert [line.split()[0] for line in lines[1:-2]] == [f"job-{number:03}" for number in range(99, 79, -1)]
    assert lines[-2:] == ["80 earlier jobs not shown", "1 worker (2 processes)"]
