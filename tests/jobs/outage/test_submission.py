"""A submission continues after Redis was down or full."""

import itertools
import re
import threading
from collections.abc import Callable, Iterator

import pytest

from pigeonhole.errors import BrokerRefuses, BrokerUnreachable, UsageError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.submit import Submission, batches, submit
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.wire.messages import Batch
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Reference
from tests.faults.server import RedisServer
from tests.jobs.outage.outages import Shown, complete, with_event
from tests.jobs.references import references
from tests.ledger.conftest import Server


def test_a_submission_waits_for_a_killed_redis_and_is_complete_at_the_end(server: RedisServer, own: Settings) -> None:
    shown = Shown(server.start)
    connection = Connection(own, Retrying(60, shown))
    job = connection.create(["in"])
    connection.submit(job, with_event(1000, 500, server.kill))
    assert server.url in shown.reported[0]
    assert shown.reported[1:] == ["back"]
    assert complete(own, job, 1000)


def test_a_submission_fails_after_its_last_retry_and_can_be_repeated(server: RedisServer, own: Settings) -> None:
    connection = Connection(own, Retrying(0))
    job = connection.create(["in"])
    with pytest.raises(BrokerUnreachable, match=re.escape(server.url)):
        connection.submit(job, with_event(1000, 500, server.kill))
    server.start()
    assert connection.ledger.status(job).submitting
    connection.submit(job, references(1000))
    assert complete(own, job, 1000)


class FullAfterAdd(Ledger):
    """A ledger whose Redis becomes full once the last of three batches is on record."""

    def add(self, job: str, number: int, batch: Batch) -> Piece | None:
        added = super().add(job, number, batch)
        if number == 2:
            self.client.config_set("maxmemory", 1)
        return added


@pytest.mark.parametrize("step", ["add", "publish", "close"])
def test_a_submission_waits_for_a_full_redis_and_loses_nothing(start_redis: Callable[..., Server], step: str) -> None:
    settings = Settings(broker_url=start_redis("--maxmemory-policy", "noeviction").url)
    raw = Ledger(settings).client
    shown = Shown(lambda: raw.config_set("maxmemory", 0))
    job = Ledger(settings).create("digits", ("in",))
    ledger = FullAfterAdd(settings) if step == "publish" else Ledger(settings)
    at = {"add": 100, "publish": -1, "close": 64 * 3}[step]
    queue = Queue(settings)
    submit(ledger, queue, job, with_event(64 * 3, at, lambda: raw.config_set("maxmemory", 1)), Retrying(60, shown))
    assert len(shown.reported) == 2
    assert f"{settings.broker_url} is full" in shown.reported[0]
    assert shown.reported[1] == "back"
    assert queue.depth("digits") == 3
    assert complete(settings, job, 64 * 3)


def test_creating_a_job_waits_for_room_in_redis(start_redis: Callable[..., Server]) -> None:
    settings = Settings(broker_url=start_redis("--maxmemory", "1").url)
    raw = Ledger(settings).client
    connection = Connection(settings, Retrying(60, Shown(lambda: raw.config_set("maxmemory", 0))))
    job = connection.create(["in"])
    assert [status.job for status in connection.ledger.statuses()] == [job]


def test_an_error_that_retries_can_not_fix_is_raised_at_once(start_redis: Callable[..., Server]) -> None:
    settings = Settings(broker_url=start_redis().url)
    shown = Shown()
    connection = Connection(settings, Retrying(60, shown))
    job = connection.create(["in"])
    with pytest.raises(BrokerRefuses):
        connection.submit(
            job, with_event(1000, 100, lambda: connection.ledger.client.acl_setuser("default", commands=["-evalsha"]))
        )
    assert shown.reported == []


def test_a_submission_that_is_running_is_not_started_again(settings: Settings) -> None:
    connection = Connection(settings, Retrying())
    job = connection.create(["in"])
    walks: list[int] = []
    gate = threading.Event()

    def walk() -> Iterator[Reference]:
        walks.append(1)
        gate.wait(60)
        yield from references(10)

    submission = connection.submission(job, walk())
    submission.check()
    open_status = connection.status(job)
    submission.on_status(open_status)
    gate.set()
    submission.finish()
    submission.on_status(open_status)  # this status may be from before the end
    submission.finish()
    assert len(walks) == 1


def test_a_resumed_job_is_submitted_only_if_it_is_open(settings: Settings) -> None:
    connection = Connection(settings, Retrying())
    job = connection.create(["in"])
    connection.ledger.add(job, 0, next(batches(references(100))))
    submission = connection.submission(job, references(100), at_once=False)
    submission.check()
    submission.on_status(connection.status(job))
    submission.finish()
    assert complete(settings, job, 100)
    again = Submission(pytest.fail, at_once=False)
    again.check()
    again.on_status(connection.status(job))
    again.finish()
    again.check()


def test_a_repeated_submission_adds_nothing_and_refuses_other_sources(settings: Settings) -> None:
    connection = Connection(settings, Retrying())
    job = connection.create(["in"])
    connection.submit(job, references(1000))
    depth = connection.queue.depth("digits")
    connection.submit(job, references(1000))
    assert connection.queue.depth("digits") == depth
    for other in (references(900), references(1001), itertools.islice(references(1001), 1, None)):
        with pytest.raises(UsageError):
            connection.submit(job, other)
    assert complete(settings, job, 1000)


def test_an_outage_that_two_threads_meet_is_reported_once() -> None:
    both = threading.Barrier(2)
    shown = Shown()
    retrying = Retrying(60, shown)

    def step() -> Callable[[], None]:
        tries = iter([True, False])

        def once_away() -> None:
            if next(tries):
                raise BrokerUnreachable("away")

        return once_away

    threads = [threading.Thread(target=retrying, args=(step(), both.wait)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert shown.reported == ["away", "back"]
