"""Following a job continues after Redis was down."""

import itertools

import pytest

from pigeonhole.errors import NoWorker, UsageError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.follow import NO_WORKER_SECONDS, Follower
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.submit import submit
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from tests.faults.server import RedisServer
from tests.jobs.outage.outages import Shown, do_all
from tests.jobs.references import references
from tests.ledger.conftest import Clock

WORKER = Announcement(name="celery@one", model="digits", digest="d", version="1")


def test_following_resumes_when_redis_is_back_and_allows_workers_time_to_reconnect(
    server: RedisServer, own: Settings, clock: Clock
) -> None:
    ledger, workers = Ledger(own), Workers(own, now=clock)
    job = ledger.create("digits", ("in",))
    submit(ledger, Queue(own), job, references(10), Retrying(0))
    workers.announce(WORKER)
    steps = itertools.count()

    def sleep(seconds: float) -> None:
        clock.now += 3
        step = next(steps)
        if step == 3:
            server.kill()
        if step == 5:  # the worker has reconnected, too
            workers.announce(WORKER)
        if step == 10:
            do_all(ledger, job)

    def an_hour_later() -> None:
        clock.now += 3600
        server.start()

    shown = Shown(an_hour_later)
    follower = Follower(ledger, Queue(own), workers, retrying=Retrying(60, shown), clock=clock, sleep=sleep)
    assert [row.path for rows in follower.rows(job) for row in rows] == [f"in/{number}.png" for number in range(10)]
    assert shown.reported[1:] == ["back"]


def test_workers_that_do_not_reconnect_after_an_outage_end_following(
    server: RedisServer, own: Settings, clock: Clock
) -> None:
    ledger = Ledger(own)
    job = ledger.create("digits", ("in",))
    submit(ledger, Queue(own), job, references(10), Retrying(0))
    back: list[float] = []

    def sleep(seconds: float) -> None:
        clock.now += 1
        if not back:
            server.kill()

    def an_hour_later() -> None:
        clock.now += 3600
        back.append(clock.now)
        server.start()

    retrying = Retrying(60, Shown(an_hour_later))
    follower = Follower(ledger, Queue(own), Workers(own, now=clock), retrying=retrying, clock=clock, sleep=sleep)
    with pytest.raises(NoWorker):
        list(follower.rows(job))
    assert NO_WORKER_SECONDS <= clock.now - back[0] <= 2 * NO_WORKER_SECONDS


def test_an_error_of_the_check_ends_the_retries(server: RedisServer, own: Settings) -> None:
    shown = Shown()
    connection = Connection(own, Retrying(600, shown))
    job = connection.create(["in"])
    connection.submit(job, references(10))

    def check() -> None:
        if shown.reported:
            raise UsageError("ended")
        if server.process.poll() is None:
            server.kill()

    with pytest.raises(UsageError, match=r"^ended$"):
        list(connection.follow(job, check=check))
    assert len(shown.reported) == 1
    server.start()
