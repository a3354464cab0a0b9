"""Announcements of workers on a real Redis."""

from dataclasses import replace

import pytest

from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.workers import GONE_AFTER, SWEEP_TURN, Announcement, Workers
from pigeonhole.settings import Settings
from tests.ledger.conftest import Clock

ONE = Announcement(name="celery@one", model="digits", digest="ab" * 32, version="0.1.0", host="one")


@pytest.fixture
def workers(settings: Settings, clock: Clock) -> Workers:
    return Workers(settings, now=clock)


def test_there_are_no_workers_at_first(workers: Workers) -> None:
    assert workers.alive() == []


def test_a_worker_is_listed_with_its_whole_announcement(workers: Workers, clock: Clock) -> None:
    workers.announce(ONE)
    assert workers.alive() == [replace(ONE, seen=clock.now, busy=clock.now)]


def test_a_worker_announces_how_many_of_its_processes_are_ready(workers: Workers) -> None:
    for processes in (0, 2, 1):
        workers.announce(replace(ONE, processes=processes))
        assert [worker.processes for worker in workers.alive()] == [processes]


def test_a_worker_announces_when_it_was_last_busy(workers: Workers, clock: Clock) -> None:
    workers.announce(ONE)
    clock += 5
    workers.announce(ONE, busy=False)
    assert workers.alive() == [replace(ONE, seen=clock.now, busy=clock.now - 5)]
    workers.announce(ONE, busy=True)
    assert workers.alive() == [replace(ONE, seen=clock.now, busy=clock.now)]


def test_a_silent_worker_is_lost_after_a_while(workers: Workers, clock: Clock) -> None:
    workers.announce(ONE)
    clock += GONE_AFTER - 1
    workers.announce(replace(ONE, name="celery@two"))
    assert [worker.name for worker in workers.alive()] == ["celery@one", "celery@two"]
    clock += 1
    assert [worker.name for worker in workers.alive()] == ["celery@two"]


def test_a_worker_that_keeps_announcing_itself_stays(workers: Workers, clock: Clock) -> None:
    for _ in range(5):
        workers.announce(ONE)
        clock += GONE_AFTER - 1
    assert [worker.name for worker in workers.alive()] == ["celery@one"]


def test_an_announcement_expires_in_redis_by_itself(workers: Workers, raw: Client, settings: Settings) -> None:
    workers.announce(ONE)
    key = f"{settings.prefix}:worker:{ONE.name}"
    assert GONE_AFTER - 5 < raw.ttl(key) <= GONE_AFTER
    raw.pexpire(key, 0)  # as expiry would do
    assert workers.alive() == []


def test_a_worker_that_leaves_is_removed_at_once(workers: Workers, raw: Client, settings: Settings) -> None:
    workers.announce(ONE)
    workers.leave(ONE.name)
    assert workers.alive() == []
    assert list(raw.scan_iter(f"{settings.prefix}:*")) == []


def test_two_workers_with_the_same_name_are_two_workers(workers: Workers, clock: Clock) -> None:
    first, second = (replace(ONE, instance=instance, seen=clock.now, busy=clock.now) for instance in ("a", "b"))
    workers.announce(first)
    workers.announce(second)
    assert workers.alive() == [first, second]
    workers.leave(first.id)
    assert workers.alive() == [second]


def test_only_one_worker_at_a_time_may_sweep(settings: Settings, raw: Client) -> None:
    first, second = Workers(settings), Workers(settings)
    assert first.may_sweep()
    assert not second.may_sweep()
    assert not first.may_sweep()
    lock = f"{settings.prefix}:sweeping"
    assert 0 < raw.pttl(lock) <= SWEEP_TURN * 1000
    raw.pexpire(lock, 0)  # as expiry would do
    assert second.may_sweep()


def test_without_an_injected_clock_the_time_is_that_of_redis(settings: Settings, raw: Client) -> None:
    seconds, _ = raw.time()
    assert seconds <= Workers(settings).time() <= seconds + 60


@pytest.mark.parametrize("field", ["seen", "busy", "processes", "model", "name"])
def test_a_damaged_announcement_hides_no_other_worker(
    workers: Workers, raw: Client, settings: Settings, clock: Clock, field: str
) -> None:
    workers.announce(ONE)
    workers.announce(replace(ONE, name="celery@two"))
    if field == "name":
        raw.zadd(f"{settings.prefix}:workers", {b"\xff": clock.now})
    else:
        raw.hset(f"{settings.prefix}:worker:celery@two", field, b"\xff")
    assert workers.alive()[0] == replace(ONE, seen=clock.now, busy=clock.now)
