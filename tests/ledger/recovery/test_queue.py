"""The queue and the sweep, with messages in a real Redis that no worker consumes."""

import base64
import json
from collections.abc import Callable

import pytest

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.leases import LEASE
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.celery_app import LOWEST_PRIORITY, configure
from pigeonhole.ledger.queue.task_queue import TASK, Queue, priority, queue_name
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.sweep import sweep
from pigeonhole.ledger.upkeep import Overdue
from pigeonhole.ledger.wire.messages import Batch
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from tests.ledger.conftest import Clock, answers_for, batch_of, piece


def images(number: int) -> Batch:
    """Return the batch with this number in each test job: one image."""
    return batch_of(f"{number}.png")


def nth(number: int, start: int = 0, stop: int | None = None) -> Piece:
    return piece(images(number), number, start, stop)


class Bench:
    """A ledger with a clock of its own, and a queue."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.ledger, self.queue = Ledger(settings, now=clock), Queue(settings)

    def job(self, batches: int, model: str = "digits", published: bool = True) -> str:
        job = self.ledger.create(model, ("photos",))
        for number in range(batches):
            self.ledger.add(job, number, images(number))
            if published:
                self.queue.publish(model, job, nth(number))
        return job

    def sweep(self) -> int:
        self.ledger.note_sweep()  # as if workers had swept all the time
        return sweep(self.ledger, self.queue)

    def messages(self, raw: Client, model: str = "digits") -> list[tuple[str, Piece]]:
        """Return (job, piece) of each queued message, in the order in which workers take them."""
        queued: list[tuple[str, Piece]] = []
        for step in range(LOWEST_PRIORITY + 1):
            name = f"{self.settings.prefix}:{queue_name(model)}"
            key = name if step == 0 else f"{name}\x06\x16{step}"
            for message in reversed(raw.lrange(key, 0, -1)):
                body = json.loads(base64.b64decode(json.loads(message)["body"]))
                job, piece = body[0]
                queued.append((job, Piece.parse(piece)))
        return queued

    def lose(self, raw: Client, model: str = "digits") -> None:
        """Delete all messages from the queue."""
        for key in raw.scan_iter(f"{self.settings.prefix}:{queue_name(model)}*"):
            raw.delete(key)


@pytest.fixture
def bench(settings: Settings, clock: Clock) -> Bench:
    return Bench(settings, clock)


def test_the_first_batches_of_a_job_have_the_highest_priority() -> None:
    assert [priority(number) for number in (0, 1, 2, 3, 4, 7, 8, 255, 256, 10**9)] == [0, 1, 2, 2, 3, 3, 4, 8, 9, 9]
    assert [priority(number) for number in range(5000)] == sorted(priority(number) for number in range(5000))


def test_messages_are_taken_by_priority_and_contain_a_job_and_a_piece(bench: Bench, raw: Client) -> None:
    large = bench.job(20)
    small = bench.job(1)
    taken = bench.messages(raw)
    assert taken[:2] == [(large, nth(0)), (small, nth(0))]
    assert [piece for job, piece in taken if job == large] == [nth(number) for number in range(20)]
    [message] = raw.lrange(f"{bench.settings.prefix}:classify.digits\x06\x161", 0, -1)
    assert json.loads(base64.b64decode(json.loads(message)["body"]))[:2] == [[large, str(nth(1))], {}]
    assert json.loads(message)["headers"]["task"] == TASK
    assert json.loads(message)["content-type"] == "application/json"


def test_the_depth_of_a_queue_counts_all_priorities_of_one_model(bench: Bench) -> None:
    assert bench.queue.depth("digits") == 0
    bench.job(20)
    bench.job(3, model="letters")
    assert bench.queue.depth("digits") == 20
    assert bench.queue.depth("letters") == 3
    assert bench.queue.depth("unheard-of") == 0


def test_only_json_is_accepted_from_the_queue(settings: Settings) -> None:
    conf = configure(settings).conf
    assert (conf.task_serializer, conf.accept_content, conf.result_accept_content) == ("json", ["json"], ["json"])


def test_without_losses_no_message_is_published_again(bench: Bench) -> None:
    job = bench.job(5)
    bench.ledger.claim(job, nth(0))
    assert bench.sweep() == 0
    bench.clock += bench.settings.publish_seconds + 1  # in a long queue
    assert bench.sweep() == 0
    assert bench.queue.depth("digits") == 5


def test_a_claimed_batch_is_published_again_when_its_lease_expires(bench: Bench, raw: Client) -> None:
    job = bench.job(3)
    bench.lose(raw)
    for number in range(3):
        bench.ledger.claim(job, nth(number))
        bench.clock += 1
    bench.clock += LEASE - 4
    assert bench.sweep() == 0
    bench.clock += 1  # when the second sweep is due
    assert bench.sweep() == 1
    assert bench.messages(raw) == [(job, nth(0, 0, 1))]
    status = bench.ledger.status(job)
    assert (status.batches_waiting, status.batches_claimed) == (1, 2)
    bench.clock += 10
    assert bench.sweep() == 2
    assert sorted(bench.messages(raw)) == [(job, nth(number, 0, 1)) for number in range(3)]


@pytest.mark.parametrize(
    "again", [Ledger.claim, lambda ledger, job, piece: ledger.renew(job, [piece])], ids=["claimed", "renewed"]
)
def test_claiming_again_or_renewing_extends_the_lease(
    bench: Bench, again: Callable[[Ledger, str, Piece], object]
) -> None:
    job = bench.job(1)
    bench.ledger.claim(job, nth(0))
    bench.clock += LEASE - 1
    again(bench.ledger, job, nth(0))
    bench.clock += 2
    assert bench.ledger.overdue(job, 0) == Overdue([], [], [])


def test_only_claimed_pieces_can_be_renewed(bench: Bench) -> None:
    job = bench.job(3)
    bench.ledger.claim(job, nth(0))
    bench.ledger.claim(job, nth(1))
    bench.ledger.commit(job, nth(1), answers_for(images(1)))
    assert bench.ledger.renew(job, [nth(0), nth(1), nth(2)]) == 1
    status = bench.ledger.status(job)
    assert (status.batches_waiting, status.batches_claimed) == (1, 1)


def test_a_lease_that_expired_while_nobody_swept_counts_as_no_loss(bench: Bench) -> None:
    """Redis was down, so workers could not renew their leases, and do not count as lost."""
    job = bench.job(1)
    bench.sweep()
    bench.ledger.claim(job, nth(0))
    bench.clock += 10 * LEASE
    assert sweep(bench.ledger, bench.queue) == 0
    bench.clock += LEASE - 1
    assert bench.sweep() == 0
    bench.clock += 1
    assert bench.sweep() == 1, "the lease is extended only once"
    assert bench.ledger.pending(job) == [nth(0, 0, 1)]


def test_a_batch_with_a_lost_message_is_published_again_when_it_is_overdue(bench: Bench, raw: Client) -> None:
    job = bench.job(4)
    bench.lose(raw)
    bench.clock += bench.settings.publish_seconds - 1
    assert bench.sweep() == 0
    bench.clock += 1
    assert bench.sweep() == 3, "the first was published earlier, since the job made no progress"
    assert bench.messages(raw) == [(job, nth(number)) for number in range(4)]
    assert bench.sweep() == 0


def test_the_sweep_publishes_only_the_messages_that_the_queue_lacks(bench: Bench, raw: Client) -> None:
    bench.job(3, published=False)
    bench.job(4)
    bench.job(2, published=False)
    bench.clock += bench.settings.publish_seconds
    assert bench.sweep() == 5
    assert bench.queue.depth("digits") == 9 + 1, (
        "one more goes ahead of all others, for the job without a published message"
    )
    bench.clock += bench.settings.publish_seconds
    assert bench.sweep() == 0


def test_a_batch_is_published_again_after_each_lost_message(bench: Bench, raw: Client) -> None:
    job = bench.job(1, published=False)
    for _ in range(3):
        bench.clock += bench.settings.publish_seconds
        assert bench.sweep() == 1
        assert bench.messages(raw) == [(job, nth(0))]
        bench.lose(raw)


def test_each_model_has_a_queue_of_its_own(bench: Bench, raw: Client) -> None:
    bench.job(5)
    letters = bench.job(2, model="letters")
    bench.lose(raw, "letters")
    bench.clock += bench.settings.publish_seconds
    assert bench.sweep() == 2
    assert bench.messages(raw, "letters") == [(letters, nth(0)), (letters, nth(1))]
    assert len(set(bench.messages(raw))) == 5


def test_finished_cancelled_and_deleted_jobs_are_not_published_again(bench: Bench, raw: Client) -> None:
    done, cancelled, deleted = (bench.job(1, published=False) for _ in range(3))
    bench.ledger.claim(done, nth(0))
    bench.ledger.commit(done, nth(0), answers_for(images(0)))
    bench.ledger.cancel(cancelled)
    bench.ledger.delete(deleted)
    bench.clock += 10 * LEASE
    assert bench.sweep() == 0
    assert bench.messages(raw) == []


def test_a_job_of_another_version_does_not_stop_the_sweep(bench: Bench, raw: Client) -> None:
    ours, theirs = bench.job(1, published=False), bench.job(1, published=False)
    bench.ledger.claim(theirs, nth(0))
    bench.ledger.client.hset(f"{bench.settings.prefix}:job:{theirs}", "v", "9")
    bench.clock += LEASE
    assert bench.sweep() == 1
    assert bench.messages(raw, "") == []
    assert bench.messages(raw) == [(ours, nth(0))]


def test_a_foreign_value_among_pending_pieces_does_not_stop_the_sweep(bench: Bench, raw: Client) -> None:
    job = bench.job(1, published=False)
    raw.zadd(f"{bench.settings.prefix}:job:{job}:waiting", {"not a number": 0})
    bench.clock += bench.settings.publish_seconds
    assert bench.sweep() == 1
    assert bench.messages(raw) == [(job, nth(0))]


def test_all_pending_pieces_can_be_listed_without_claiming_them(bench: Bench) -> None:
    job = bench.job(4)
    bench.ledger.claim(job, nth(1))
    bench.ledger.claim(job, nth(2))
    bench.ledger.commit(job, nth(2), answers_for(images(2)))
    assert bench.ledger.pending(job) == [nth(0), nth(1), nth(3)]
    status = bench.ledger.status(job)
    assert (status.batches_waiting, status.batches_claimed) == (2, 1), "listing claims no piece"


def test_a_later_sweep_repeats_one_that_failed_to_publish(bench: Bench, raw: Client) -> None:
    job = bench.job(3, published=False)
    bench.ledger.claim(job, nth(2))  # a job that advances
    bench.clock += bench.settings.publish_seconds

    class Fails(Queue):
        def publish(self, model: str, job: str, piece: Piece, first: bool = False) -> None:
            raise BrokerUnreachable("gone")

    with pytest.raises(BrokerUnreachable):
        sweep(bench.ledger, Fails(bench.settings))
    assert bench.sweep() == 0
    bench.ledger.renew(job, [nth(2)])
    bench.clock += bench.settings.publish_seconds
    assert bench.sweep() == 2
    assert bench.messages(raw) == [(job, nth(0)), (job, nth(1))]


def test_two_prefixes_can_share_a_redis(settings: Settings, clock: Clock, raw: Client) -> None:
    before = set(raw.scan_iter("*"))
    own, other = (
        Settings(broker_url=settings.broker_url, prefix="own-x"),
        Settings(broker_url=settings.broker_url, prefix="own-y"),
    )
    for bench in (Bench(own, clock), Bench(other, clock)):
        job = bench.job(3)
        workers = Workers(bench.settings, now=clock)
        workers.announce(Announcement(name="w", model="digits", digest="d", version="1", processes=1))
        assert workers.may_sweep()
        for number in range(3):
            bench.ledger.claim(job, nth(number))
        bench.ledger.commit(job, nth(0), answers_for(images(0)))
        assert [worker.processes for worker in workers.alive()] == [1]
        bench.clock += LEASE
        assert bench.sweep() == 2
        assert bench.queue.depth("digits") == 5
        assert [status.job for status in bench.ledger.statuses()] == [job]
    # A worker of an earlier test may still be running.
    new = {key for key in raw.scan_iter("*") if not key.startswith(b"test-")} - before
    assert {key.split(b":")[0] for key in new} == {b"own-x", b"own-y"}
    raw.delete(*new)
