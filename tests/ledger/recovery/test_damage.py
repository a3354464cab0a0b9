"""Recovery from damaged records anywhere in Redis, and from a clock that steps."""

import math

import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.leases import LEASE
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.sweep import sweep
from pigeonhole.ledger.workers import GONE_AFTER, SWEEP_TURN, Announcement, Workers
from pigeonhole.settings import Settings
from tests.ledger.conftest import FIRST, SECOND, A, B, Clock, answers_for, open_job
from tests.messages import check_message

WORKER = Announcement(name="celery@one", model="digits", digest="ab" * 32, version="1")
DIGEST = A.digest


class Bench:
    """A job whose first batch is claimed and whose second waits, both overdue, with ledger, queue and clock."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.ledger, self.queue = Ledger(settings, now=clock), Queue(settings)
        self.workers, self.letters = Workers(settings, now=clock), DeadLetters(settings)
        self.job = self.overdue_job()

    def overdue_job(self) -> str:
        job = open_job(self.ledger)
        self.ledger.close(job, 2)
        self.ledger.claim(job, FIRST)
        self.clock += LEASE + 1
        self.ledger.note_sweep()
        return job

    def key(self, name: str) -> str:
        return f"{self.settings.prefix}:{name.replace('J', self.job)}"

    def sweep(self) -> int:
        return sweep(self.ledger, self.queue)


@pytest.fixture
def bench(settings: Settings, clock: Clock) -> Bench:
    return Bench(settings, clock)


@pytest.mark.parametrize("value", ["x", "", "nan", "inf", "-inf", "1e400", "-5", b"\xff"])
def test_an_invalid_time_of_the_last_sweep_is_overwritten(bench: Bench, raw: Client, value: str) -> None:
    raw.set(bench.key("swept"), value)
    assert bench.ledger.last_sweep() is None
    assert not bench.ledger.swept_lately()
    assert bench.sweep() == 1, (
        "the lease is extended, since workers may have been unable to renew it; the second batch is published"
    )
    assert bench.ledger.last_sweep() == bench.clock.now
    bench.clock += LEASE + 1
    bench.ledger.note_sweep()
    assert bench.sweep() >= 2


@pytest.mark.parametrize("list_", ["active", "jobs", "swept", "sweeping", "workers", "dead"])
@pytest.mark.parametrize("kind", ["string", "hash", "list"])
def test_a_key_of_the_wrong_type_is_removed_and_recovery_continues(
    bench: Bench, raw: Client, list_: str, kind: str
) -> None:
    key = bench.key(list_)
    raw.delete(key)
    {"string": lambda: raw.set(key, "x"), "hash": lambda: raw.hset(key, "x", "y"), "list": lambda: raw.lpush(key, "x")}[
        kind
    ]()
    bench.workers.announce(WORKER)
    assert [worker.name for worker in bench.workers.alive()] == ["celery@one"]
    assert bench.workers.may_sweep()
    bench.sweep()
    bench.letters.add("something", "it is unreadable")
    assert ("something", "it is unreadable") in [(letter.what, letter.why) for letter in bench.letters.all()]
    assert [status.job for status in bench.ledger.statuses(active_only=True)] == [bench.job]
    assert [status.job for status in bench.ledger.statuses()] == [bench.job]
    if list_ in ("active", "jobs"):
        assert f"key {key}" in [letter.what for letter in bench.letters.all()]
    bench.clock += LEASE + 1
    bench.ledger.note_sweep()
    bench.sweep()
    assert FIRST not in bench.ledger.pending(bench.job), "the lost batch is split"


@pytest.mark.parametrize("among", ["waiting", "claimed"])
@pytest.mark.parametrize(
    "member",
    [
        "0:64:64",
        "not a piece",
        b"\xff",
        f"0-{DIGEST}:64:64",
        f"0-{DIGEST}:2:1",
        f"0-{DIGEST}:0:5000",
        f"0-{DIGEST}:5000:5001",
        f"0-{B.digest}",
        f"7-{DIGEST}",
        f"1-{B.digest}:0:1",
        "-1",
    ],
)
@pytest.mark.parametrize("score", [0.0, math.inf, -math.inf])
def test_an_invalid_piece_is_removed_and_reported_and_the_job_finishes(
    bench: Bench, raw: Client, among: str, member: str, score: float
) -> None:
    raw.zadd(bench.key(f"job:J:{among}"), {member: score})
    for _ in range(3):
        bench.ledger.note_sweep()
        bench.sweep()
        bench.clock += max(LEASE, bench.settings.publish_seconds) + 1
    parts = {*FIRST.split(2), SECOND}
    assert set(bench.ledger.pending(bench.job)) | {FIRST} >= parts, "no valid piece is removed"
    for pending in [pending for pending in bench.ledger.pending(bench.job) if pending in parts]:
        batch = bench.ledger.claim(bench.job, pending)
        assert batch
        assert bench.ledger.commit(bench.job, pending, answers_for(batch))
    for key in raw.scan_iter(bench.key("classify*")):
        raw.delete(key)  # workers have taken all messages
    for _ in range(3):
        bench.clock += max(LEASE, bench.settings.publish_seconds) + 1
        bench.ledger.note_sweep()
        bench.sweep()
    status = bench.ledger.status(bench.job)
    assert (status.state, status.done) == ("finished", 3)
    (letter,) = bench.letters.of_job(bench.job)
    assert "removed" in letter.why


def test_a_piece_without_references_is_reported_and_other_jobs_recover(bench: Bench, raw: Client) -> None:
    raw.hdel(bench.key("job:J:refs"), "0")
    other = bench.overdue_job()
    bench.sweep()
    assert FIRST not in bench.ledger.pending(other)
    (letter,) = bench.letters.of_job(bench.job)
    check_message(letter.why, "batch 0", "no references")
    with pytest.raises(MessageInvalid):
        bench.ledger.claim(bench.job, FIRST)


KEYS = ("", ":refs", ":waiting", ":claimed", ":rows", ":parts", ":digests")


@pytest.mark.parametrize("part", KEYS)
@pytest.mark.parametrize("kind", ["string", "list", "zset", "hash"])
def test_a_job_with_a_key_of_the_wrong_type_does_not_keep_the_sweep_from_other_jobs(
    bench: Bench, raw: Client, part: str, kind: str
) -> None:
    key = bench.key(f"job:J{part}")
    raw.delete(key)
    other = bench.overdue_job()
    {
        "string": lambda: raw.set(key, "x"),
        "hash": lambda: raw.hset(key, "x", "nan"),
        "list": lambda: raw.lpush(key, "x"),
        "zset": lambda: raw.zadd(key, {"x": 0}),
    }[kind]()
    before = bench.ledger.last_sweep()
    bench.clock += 1
    bench.sweep()
    assert FIRST not in bench.ledger.pending(other), "the lost batch is split"
    assert bench.ledger.last_sweep() != before
    assert {status.job for status in bench.ledger.statuses()} >= {other}


ODD = strategies.sampled_from(
    [b"", b"x", b"nan", b"inf", b"-inf", b"-1", b"1e400", b"1e300", b"9" * 5000, b"\xff", b"[[" * 9999, b"null", b"{}"]
)


@given(part=strategies.sampled_from(KEYS), field=strategies.sampled_from(
    ["v", "state", "model", "sources", "created", "started", "finished", "batches", "images", "done", "errors",
     "reviews", "submitting", "progressed", "promoted", "promoted_at", "untried", "0", "1", "losses:0:0:1"]
), value=ODD)  # fmt: skip
@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_in_the_record_of_a_job_keeps_the_sweep_from_other_jobs(
    bench: Bench, raw: Client, part: str, field: str, value: bytes
) -> None:
    for status in bench.ledger.statuses():
        bench.ledger.delete(status.job)
    bench.job = bench.overdue_job()
    if part in (":waiting", ":claimed"):
        raw.zadd(bench.key(f"job:J{part}"), {value: 0})
    else:
        raw.hset(bench.key(f"job:J{part}"), field, value)
    other = bench.overdue_job()
    bench.sweep()
    assert FIRST not in bench.ledger.pending(other)
    assert len(bench.ledger.statuses()) == 2


@pytest.mark.parametrize("field", ["processes", "skew", "seen", "busy"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "-3", "x"])
def test_an_announcement_with_an_invalid_number_hides_no_worker(
    bench: Bench, raw: Client, field: str, value: str
) -> None:
    bench.workers.announce(WORKER)
    raw.hset(bench.key("worker:celery@one"), field, value)
    (worker,) = bench.workers.alive()
    assert math.isfinite(getattr(worker, field))
    assert worker.processes >= 0
    raw.delete(bench.key("worker:celery@one"))
    raw.set(bench.key("worker:celery@one"), "x")
    assert bench.workers.alive() == []


BACK = 3600.0


def test_a_clock_that_steps_back_does_not_delay_the_notice_of_a_lost_worker(bench: Bench) -> None:
    bench.ledger.claim(bench.job, FIRST)
    bench.clock += -BACK
    assert bench.sweep() == 0, "the last sweep is in the future: workers may have been unable to renew leases"
    for _ in range(int(LEASE)):
        bench.clock += 1
        bench.ledger.note_sweep()
    assert bench.sweep() >= 2
    assert FIRST not in bench.ledger.pending(bench.job)


def test_a_clock_that_steps_back_does_not_delay_the_notice_of_a_lost_message(bench: Bench) -> None:
    bench.ledger.commit(bench.job, FIRST, answers_for(A))
    assert bench.sweep() == 1
    for key in bench.ledger.client.scan_iter(f"{bench.settings.prefix}:classify*"):
        bench.ledger.client.delete(key)
    bench.clock += -BACK
    bench.sweep()
    bench.clock += bench.settings.publish_seconds
    assert bench.sweep() == 1


def test_a_clock_that_steps_back_does_not_prolong_a_turn_to_sweep(bench: Bench) -> None:
    assert bench.workers.may_sweep()
    assert not bench.workers.may_sweep()
    bench.clock += -BACK
    assert bench.workers.may_sweep()
    assert not bench.workers.may_sweep()
    bench.clock += SWEEP_TURN
    assert bench.workers.may_sweep()


def test_a_clock_that_steps_back_does_not_prolong_the_life_of_a_silent_worker(bench: Bench, clock: Clock) -> None:
    bench.workers.announce(WORKER)
    clock += -BACK
    assert len(bench.workers.alive()) == 1
    clock += GONE_AFTER
    assert bench.workers.alive() == []


def test_a_clock_that_steps_back_does_not_hide_an_idle_worker(bench: Bench, clock: Clock) -> None:
    bench.workers.announce(WORKER, busy=True)
    clock += -BACK
    bench.workers.announce(WORKER, busy=False)
    (worker,) = bench.workers.alive()
    assert worker.busy == clock.now


@pytest.mark.parametrize("step", [BACK, LEASE, 3.0])
def test_a_clock_that_steps_forward_takes_no_batch_from_a_worker(bench: Bench, step: float) -> None:
    bench.sweep()
    (waiting, *_) = bench.ledger.pending(bench.job)
    bench.ledger.claim(bench.job, waiting)
    bench.ledger.note_sweep()
    bench.clock += step
    bench.sweep()
    assert waiting in bench.ledger.pending(bench.job)


@pytest.mark.parametrize("lists", [("active",), ("jobs",), ("active", "jobs")])
def test_an_unfinished_job_that_is_missing_from_the_lists_is_listed_again(
    bench: Bench, raw: Client, lists: tuple[str, ...]
) -> None:
    for name in lists:
        raw.delete(bench.key(name))
    assert bench.ledger.list_again(bench.job)
    assert not bench.ledger.list_again(bench.job)
    for active_only in (True, False):
        (status,) = bench.ledger.statuses(active_only)
        assert status.job == bench.job
    bench.ledger.cancel(bench.job)
    assert not bench.ledger.list_again(bench.job)
    assert bench.ledger.statuses(active_only=True) == []


def test_the_digest_of_each_batch_is_stored_until_the_job_is_deleted(bench: Bench, raw: Client) -> None:
    assert bench.ledger.digests(bench.job, [0, 1, 2]) == [A.digest, B.digest, None]
    assert bench.ledger.digests(bench.job, []) == []
    bench.ledger.cancel(bench.job)
    assert raw.ttl(bench.key("job:J:digests")) > 0
    bench.ledger.delete(bench.job)
    assert bench.ledger.digests(bench.job, [0]) == [None]


def test_a_part_without_an_image_is_no_piece() -> None:
    for part in ("64:64", "65:64"):
        with pytest.raises(MessageInvalid, match=f"{part}.* no image"):
            Piece.parse(f"0-{DIGEST}:{part}")
