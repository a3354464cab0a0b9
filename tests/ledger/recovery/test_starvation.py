"""Starvation: a large job beside a stream of small ones that keeps all workers busy, with a fake clock."""

import json
from base64 import b64decode

import pytest

from pigeonhole.jobs.submit import batch_size
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.celery_app import LOWEST_PRIORITY
from pigeonhole.ledger.queue.task_queue import Queue, queue_name
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.sweep import SWEEP_EVERY, sweep
from pigeonhole.ledger.upkeep import STARVING_AFTER
from pigeonhole.ledger.wire.messages import Batch
from pigeonhole.settings import Settings
from tests.ledger.conftest import Clock, answers_for, batch_of

LARGE, SMALL = 100_000, 200


def batches(images: int) -> list[Batch]:
    """Return batches of the regular sizes."""
    cut = list[Batch]()
    while images:
        size = min(images, batch_size(len(cut)))
        cut.append(batch_of(*(f"{len(cut)}-{image}.png" for image in range(size))))
        images -= size
    return cut


class Site:
    """A queue and simulated workers, for which there is always a message of a new small job."""

    def __init__(self, settings: Settings, clock: Clock, raw: Client) -> None:
        self.settings, self.clock, self.raw = settings, clock, raw
        self.ledger, self.queue = Ledger(settings, now=clock), Queue(settings)

    def submit(self, cut: list[Batch]) -> str:
        job = self.ledger.create("digits", ())
        for number, batch in enumerate(cut):
            piece = self.ledger.add(job, number, batch)
            assert piece
            self.queue.publish("digits", job, piece)
        self.ledger.close(job, len(cut))
        return job

    def take(self) -> tuple[str, Piece] | None:
        """Take the next message as a worker does."""
        for step in range(LOWEST_PRIORITY + 1):
            name = f"{self.settings.prefix}:{queue_name('digits')}"
            message = self.raw.rpop(name if step == 0 else f"{name}\x06\x16{step}")
            if message:
                job, piece = json.loads(b64decode(json.loads(message)["body"]))[0]
                return job, Piece.parse(piece)
        return None

    def work(self, messages: int) -> None:
        for _ in range(messages):
            taken = self.take()
            if taken and (batch := self.ledger.claim(*taken)):
                self.ledger.commit(*taken, answers_for(batch))

    def sweep(self) -> int:
        self.ledger.note_sweep()
        return sweep(self.ledger, self.queue)


@pytest.fixture
def site(settings: Settings, clock: Clock, raw: Client) -> Site:
    return Site(settings, clock, raw)


def test_a_stream_of_small_jobs_does_not_starve_a_large_one(site: Site) -> None:
    large = site.submit(batches(LARGE))
    small = batches(SMALL)
    for second in range(60):
        for _ in range(2):  # more work than two workers can do
            site.submit(small)
        site.work(5)
        if second % SWEEP_EVERY == 0:
            site.sweep()
        site.clock += 1
    status = site.ledger.status(large)
    assert status.starving
    assert status.stalled is None
    assert status.done >= LARGE / 10
    assert {status.starving for status in site.ledger.statuses() if status.over} == {False}


def test_a_starving_job_without_workers_does_not_fill_the_queue(site: Site) -> None:
    site.submit(batches(1000))
    before, day = site.queue.depth("digits"), 24 * 3600
    for _ in range(0, day, 60):
        site.sweep()
        site.clock += 60
    assert 1 <= site.queue.depth("digits") - before <= 35, "the pauses double, up to an hour"


def test_a_sweep_publishes_at_most_one_message_of_a_starving_job(site: Site) -> None:
    for _ in range(3):
        site.submit(batches(1000))
    site.clock += STARVING_AFTER
    for _ in range(5):
        before = site.queue.depth("digits")
        site.sweep()
        assert site.queue.depth("digits") - before <= 3
        site.clock += SWEEP_EVERY


@pytest.mark.parametrize("progress", ["claimed", "within the limit", "nothing waits"])
def test_a_job_that_makes_progress_is_not_published_ahead_of_others(site: Site, progress: str) -> None:
    cut = batches(1000)
    site.submit(cut)
    while progress == "nothing waits" and site.queue.depth("digits"):
        site.work(1)
    for _ in range(20):
        if progress == "claimed":
            taken = site.take()
            assert taken
            site.ledger.claim(*taken)
        elif progress == "within the limit":
            site.work(1)
        depth = site.queue.depth("digits")
        site.clock += STARVING_AFTER - 1
        site.sweep()
        assert site.queue.depth("digits") == depth
        if progress == "claimed":
            break  # before its lease expires


def test_a_job_that_makes_progress_again_is_no_longer_starving(site: Site) -> None:
    large = site.submit(batches(LARGE))
    site.clock += STARVING_AFTER
    site.sweep()
    assert site.ledger.status(large).starving
    site.work(1)  # the piece that was published ahead of all others
    assert site.ledger.status(large).starving
    site.work(2)  # its other message, and the next batch
    assert not site.ledger.status(large).starving


def test_a_late_batch_has_not_waited_since_the_start_of_its_job(site: Site) -> None:
    job = site.ledger.create("digits", ())
    site.clock += 1000
    (batch,) = batches(10)
    piece = site.ledger.add(job, 0, batch)
    assert piece
    site.queue.publish("digits", job, piece)
    site.sweep()
    assert site.queue.depth("digits") == 1
    assert site.ledger.status(job).stalled is None
    site.clock += 61
    assert site.ledger.status(job).stalled == 61
