"""Progress while a job runs, and `status --watch`: on a terminal in memory, on a dumb one, and in a log."""

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import pyte
import pytest
from rich.console import Console, RenderableType

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Logged, Retrying
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from producer.account import at_work
from producer.progress import LINE_EVERY, REDRAW_EVERY, Bar, progress
from producer.watch import Lines, Screen, watching
from tests.faults.server import RedisServer
from tests.jobs.test_outage import own, server
from tests.jobs.test_summary import status
from tests.ledger.conftest import Clock, answers_for, batch_of, open_job

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
        self._stream.feed(text.replace("\n", "\r\n"))  # as the terminal's driver does
        return super().write(text)

    def lines(self) -> list[str]:
        """What it shows, without the empty lines at the end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return terminal


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as shown:
        shown.show(status())
        shown.workers([ONE])
        shown.away(AWAY)
        shown.back()
    assert capsys.readouterr() == ("", "")


class Drawable(Protocol):
    def render(self) -> RenderableType: ...


def drawn(shown: Drawable) -> list[str]:
    """What a terminal shows where something is drawn on it."""
    terminal = Terminal()
    Console(file=terminal, width=80, height=24, force_terminal=True).print(shown.render())
    return terminal.lines()


# In a log


def test_where_there_is_no_terminal_a_line_tells_now_and_then(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with progress(quiet=False, clock=clock) as shown:
        shown.show(status(state="open", images=500, done=0))
        clock += LINE_EVERY - 1
        shown.show(status(state="open", images=900, done=100))
        shown.workers([ONE])
        clock += 1
        shown.show(status(state="open", images=2000, done=1000, errors=1))
        shown.show(status(state="closed", images=2000, done=1100))
        shown.workers([ONE, TWO])
        clock += LINE_EVERY
        shown.show(status(state="closed", images=2000, done=1500, errors=3, reviews=12))
    assert capsys.readouterr() == (
        "",
        "1,000 of 2,000… images, 200/s, 1 error, 0 to review, 1 worker (2 processes)\n"
        "1,500 of 2,000 images, 150/s, 0:03 left, 3 errors, 12 to review, 2 workers (4 processes)\n",
    )


def test_an_outage_is_told_and_its_end(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with progress(quiet=False, clock=clock) as shown:
        shown.away(AWAY)
        shown.back()
    assert capsys.readouterr() == ("", f"waiting for Redis: {AWAY}\nRedis is back\n")


def test_a_program_hears_of_an_outage_by_pythons_log(caplog: pytest.LogCaptureFixture) -> None:
    shown = Logged()
    shown.away(AWAY)
    shown.back()
    assert [record.getMessage() for record in caplog.records] == [f"waiting for Redis: {AWAY}", "Redis is back"]


def test_the_speed_is_that_of_the_last_half_minute(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    done = 0
    with progress(quiet=False, clock=clock) as shown:
        for second in range(100):
            done += 100 if second < 50 else 10
            clock += 1
            shown.show(status(state="closed", images=10_000_000, done=done))
    lines = capsys.readouterr().err.splitlines()
    assert ", 100/s, 27:" in lines[5]
    assert ", 10/s, 277:" in lines[-1]


def test_workers_whose_processes_have_not_told_of_themselves_are_starting() -> None:
    assert at_work([replace(ONE, processes=0)]) == "1 worker (starting)"
    assert at_work([replace(ONE, processes=0), TWO]) == "2 workers"


# On a dumb terminal


def test_on_a_dumb_terminal_one_line_is_written_again_and_again(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(quiet=False, clock=clock) as shown:
        shown.workers([ONE])
        shown.show(status(state="closed", images=2000, done=0))
        for done, reviews in ((100, 12), (200, 0)):
            clock += REDRAW_EVERY
            shown.show(status(state="closed", images=2000, done=done, reviews=reviews))
            left = "0:19" if done == 100 else "0:18"
            line = f"{done} of 2,000 images, 100/s, {left} left, 0 errors, {reviews} to review, 1 worker (2 processes)"
            assert terminal.lines() == [line[:79].rstrip()]
        shown.away(AWAY)
        assert terminal.lines() == ["Redis is away, waiting"]
    assert terminal.lines() == [""]
    assert not set(terminal.getvalue()) & {"\x1b", "\n"}


# On any other terminal


def test_on_a_terminal_a_bar_tells_and_all_else_stands_below_it(clock: Clock) -> None:
    bar = Bar(clock)
    assert drawn(bar)[0].startswith("starting ━━━")
    bar.show(status(state="open", started=None, images=500, done=0))
    waiting, others = drawn(bar)
    assert waiting.startswith("waiting for a worker ━━━")
    assert waiting.endswith("━ 0 of 500… images")
    assert others == "0 errors, 0 to review"
    clock += 100  # in which workers start: that says nothing of their speed
    bar.show(status(state="open", images=20_000, done=0))
    clock += 10
    bar.workers([ONE, TWO])
    bar.show(status(state="closed", images=20_000, done=15_000, errors=3, reviews=120))
    classifying, others = drawn(bar)
    assert classifying.startswith("classifying ━━━")
    assert classifying.endswith("━ 15,000 of 20,000 images")
    assert others == "1,500/s, 0:03 left, 3 errors, 120 to review, 2 workers (4 processes)"


def test_a_bar_is_gone_in_the_end(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(quiet=False) as shown:
        shown.show(status(state="closed", images=2000, done=1500))
    assert "1,500 of 2,000 images" in terminal.getvalue()
    assert terminal.lines() == [""]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (str(AWAY), "Redis is away, waiting"),
        ("Redis at redis://a is full: OOM; raise its maxmemory or delete jobs", "Redis is full, waiting"),
    ],
)
def test_a_bar_tells_of_an_outage_until_it_is_over(said: str, expected: str) -> None:
    bar = Bar()
    bar.away(BrokerUnreachable(said))
    bar.show(status(state="closed", images=2000, done=1000))  # a full one still answers
    assert drawn(bar)[0].startswith(f"{expected} ━━")
    bar.back()
    assert drawn(bar)[0].startswith("classifying ━━")


# status --watch


class Looks:
    """What happens between two looks."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    def __call__(self, seconds: float) -> None:
        if not self._steps:
            raise KeyboardInterrupt
        self._steps.pop(0)()


class Seen:
    """A view that keeps what it is shown."""

    def __init__(self) -> None:
        self.looks: list[tuple[list[JobStatus], list[Announcement]]] = []

    def draw(self, statuses: Sequence[JobStatus], workers: Sequence[Announcement]) -> None:
        self.looks.append((list(statuses), list(workers)))


def do(ledger: Ledger, job: str, number: int, *paths: str) -> None:
    batch = batch_of(*paths)
    ledger.commit(job, Piece(number, batch.digest), answers_for(batch))


def test_one_job_is_watched_to_its_end_with_its_own_workers(settings: Settings, ledger: Ledger) -> None:
    job, workers, seen = open_job(ledger), Workers(settings), Seen()
    workers.announce(ONE)
    workers.announce(Announcement(name="celery@other", model="letters", digest="d", version="1"))
    steps = (
        lambda: do(ledger, job, 0, "a.png", "b.png"),
        lambda: ledger.close(job, 2),
        lambda: do(ledger, job, 1, "c.png"),
    )
    watching(Connection(settings, Retrying()), job, seen, Looks(*steps))
    assert [(look[0].state, look[0].done) for look, _ in seen.looks] == [
        ("open", 0),
        ("open", 2),
        ("closed", 2),
        ("finished", 3),
    ]
    assert [[worker.name for worker in workers] for _, workers in seen.looks] == [["celery@one"]] * 4


def test_all_jobs_are_watched_until_somebody_interrupts(settings: Settings, ledger: Ledger) -> None:
    seen = Seen()
    with pytest.raises(KeyboardInterrupt):
        watching(Connection(settings, Retrying()), None, seen, Looks(lambda: open_job(ledger)))
    assert [len(statuses) for statuses, _ in seen.looks] == [0, 1]


def test_a_redis_that_goes_away_while_a_job_is_watched_is_told_and_waited_for(
    server: RedisServer, own: Settings
) -> None:
    class Mending(Lines):
        def away(self, exc: BrokerUnreachable) -> None:
            super().away(exc)
            server.start()

    console = Console(file=io.StringIO(), width=40)
    view = Mending(True, console)
    connection = Connection(own, Retrying(60, view))
    job = connection.create(["in"])
    watching(connection, job, view, Looks(server.kill, lambda: connection.cancel(job)))
    assert isinstance(console.file, io.StringIO)
    first, gone, back, last = console.file.getvalue().splitlines()
    assert first == f"{job} open: 0 of 0… images, 0 errors, 0 to review, 0 workers"
    assert gone.startswith("waiting for Redis: no answer from ")
    assert back == "Redis is back"
    assert last.startswith(f"{job} cancelled: ")


def test_in_a_log_a_job_that_is_watched_has_a_line_now_and_then_and_one_when_its_state_changes(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=40)
    view = Lines(False, console, clock)
    old = status(job="old")
    for done in range(0, 1200, 100):
        view.draw([old, status(job="new", state="closed", images=2000, done=done)], [ONE])
        clock += 1
    view.draw([old, status(job="new", images=2000, done=2000)], [])
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "new closed: 0 of 2,000 images, 0 errors, 0 to review, 1 worker (2 processes)",
        "new closed: 500 of 2,000 images, 100/s, 0:15 left, 0 errors, 0 to review, 1 worker (2 processes)",
        "new closed: 1,000 of 2,000 images, 100/s, 0:10 left, 0 errors, 0 to review, 1 worker (2 processes)",
        "new finished: 2,000 of 2,000 images, 167/s, 0 errors, 0 to review, 0 workers",
    ]


def test_in_a_log_a_job_that_is_over_has_a_line_where_it_alone_is_watched_or_ended_since() -> None:
    console = Console(file=io.StringIO(), width=40)
    Lines(True, console).draw([status(job="one")], [])
    view = Lines(False, console)
    view.draw([status(job="old")], [])
    view.draw([status(job="old"), status(job="new")], [])
    assert isinstance(console.file, io.StringIO)
    assert [line.split()[0] for line in console.file.getvalue().splitlines()] == ["one", "new"]


def test_on_a_terminal_one_job_is_shown_in_full() -> None:
    view = Screen(True, Console(file=io.StringIO(), width=80, height=24))
    view.draw([status(state="closed", images=2000, done=500, finished=None)], [ONE])
    lines = drawn(view)
    assert lines[0] == "job       20270115-080000-abc123"
    assert "done      500" in lines
    assert lines[-1] == "500 of 2,000 images, 0 errors, 0 to review, 1 worker (2 processes)"
    view.away(AWAY)
    assert drawn(view)[-1] == "Redis is away, waiting"


def test_on_a_terminal_as_many_of_all_jobs_are_shown_as_fit_the_latest_last() -> None:
    view = Screen(False, Console(file=io.StringIO(), width=80, height=24))
    view.draw([], [])
    assert drawn(view) == ["no jobs", "0 workers"]
    view.draw([status(job=f"job-{number:03}") for number in range(100)], [ONE])
    lines = drawn(view)
    assert lines[0] == "80 earlier jobs not shown"
    assert [line.split()[0] for line in lines[2:-1]] == [f"job-{number:03}" for number in range(80, 100)]
    assert lines[-1] == "1 worker (2 processes)"
