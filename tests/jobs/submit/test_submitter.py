"""The submitter's heartbeat, on a real Redis."""

import threading
from collections.abc import Callable, Iterator

import pytest

from pigeonhole.errors import SourceError
from pigeonhole.jobs import submitter
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.submit import submit
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.status import SILENT_AFTER
from pigeonhole.ledger.sweep import sweep
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Reference
from tests.conftest import wait_for
from tests.jobs.references import references
from tests.ledger.conftest import FIRST, A, Clock, Server, answers_for


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_a_submission_sends_heartbeats_while_its_source_blocks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitter, "HEARTBEAT", 0.02)
    ledger = Ledger(settings)
    job = ledger.create("digits", ("-",))

    def blocking() -> Iterator[Reference]:
        yield from references(64)
        added = ledger.status(job).submitter_seen or 0.0
        wait_for(lambda: (ledger.status(job).submitter_seen or 0.0) > added + 0.1, "some heartbeats")
        yield from references(1)

    submit(ledger, Queue(settings), job, blocking(), Retrying())
    assert not ledger.status(job).submitting
    wait_for(lambda: not heartbeats(), "the end of the heartbeat")


def test_a_failed_submission_sends_no_more_heartbeats(settings: Settings, ledger: Ledger) -> None:
    job = ledger.create("digits", ("in",))

    def failing() -> Iterator[Reference]:
        yield from references(10)
        raise SourceError("gone")

    with pytest.raises(SourceError):
        submit(ledger, Queue(settings), job, failing(), Retrying())
    wait_for(lambda: not heartbeats(), "the end of the heartbeat")
    assert ledger.status(job).submitting


def test_a_full_redis_accepts_heartbeats_of_a_submitter(start_redis: Callable[..., Server], clock: Clock) -> None:
    settings = Settings(broker_url=start_redis().url)
    ledger = Ledger(settings, now=clock)
    job = ledger.create("digits", ("in",))
    ledger.client.config_set("maxmemory", "1")
    clock += 100
    assert ledger.status(job).silent == 100
    assert ledger.note_submitter(job)
    assert ledger.status(job).silent is None


@pytest.fixture
def open_job(settings: Settings, clock: Clock) -> tuple[Ledger, str]:
    """Open a job with a finished and a waiting batch whose submitter was killed; return its id."""
    ledger = Ledger(settings, now=clock)
    job = ledger.create("digits", ("in",))
    ledger.add(job, 0, A)
    ledger.commit(job, FIRST, answers_for(A))
    ledger.add(job, 1, A)
    return ledger, job


def test_the_status_shows_since_when_the_submitter_is_silent(open_job: tuple[Ledger, str], clock: Clock) -> None:
    ledger, job = open_job
    begun = clock.now
    clock += SILENT_AFTER
    assert ledger.status(job).silent is None
    clock += 1
    status = ledger.status(job)
    assert (status.silent, status.submitter_seen) == (SILENT_AFTER + 1, begun)
    assert status.to_json()["silent"] == SILENT_AFTER + 1
    ledger.add(job, 1, A)
    assert ledger.status(job).silent, "a repeated batch is no heartbeat"
    assert ledger.note_submitter(job)
    assert ledger.status(job).silent is None
    clock += 100
    ledger.close(job, 2)
    assert ledger.status(job).silent is None, "a complete job needs no submitter"
    assert not ledger.note_submitter(job)


def test_an_open_job_without_a_submitter_is_cancelled_and_expires(
    open_job: tuple[Ledger, str], settings: Settings, clock: Clock, raw: Client
) -> None:
    ledger, job = open_job
    empty = ledger.create("digits", ("in",))  # killed just after `create`
    queue = Queue(settings)
    clock += settings.result_ttl - 1
    ledger.note_sweep()
    sweep(ledger, queue)
    assert [ledger.status(name).over for name in (job, empty)] == [False, False]
    ledger.note_submitter(empty)
    clock += 1
    sweep(ledger, queue)
    assert [ledger.status(name).state for name in (job, empty)] == ["cancelled", "queued"]
    assert [done.number for done in ledger.read(job, 0, 8)] == [0], "the rows stay"
    for key in raw.scan_iter(f"{settings.prefix}:job:{job}*"):
        assert raw.ttl(key) > 0


def test_a_clock_that_steps_forward_cancels_no_job_with_a_live_submitter(
    open_job: tuple[Ledger, str], settings: Settings, clock: Clock
) -> None:
    ledger, job = open_job
    queue = Queue(settings)
    ledger.note_sweep()
    clock += 10 * settings.result_ttl
    for _ in range(11):  # each of these soon after the last
        sweep(ledger, queue)
        clock += 5
    assert ledger.status(job).submitting
    ledger.note_submitter(job)
    for _ in range(20):
        sweep(ledger, queue)
        clock += 5
    assert ledger.status(job).submitting


def test_a_clock_that_steps_back_does_not_delay_the_end_of_a_job_without_a_submitter(
    open_job: tuple[Ledger, str], settings: Settings, clock: Clock
) -> None:
    ledger, job = open_job
    queue = Queue(settings)
    clock += -1_000_000
    sweep(ledger, queue)
    clock += settings.result_ttl + 1
    ledger.note_sweep()
    sweep(ledger, queue)
    assert ledger.status(job).state == "cancelled"
