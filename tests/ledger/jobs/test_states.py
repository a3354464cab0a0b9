"""The states of a job on a real Redis: open, closed, finished, cancelled, deleted."""

import re
from array import array
from dataclasses import replace

import pytest

from pigeonhole.errors import JobCancelled, UnknownJob, UsageError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.upkeep import SWEEP_GAP, Overdue
from pigeonhole.ledger.wire.messages import Answers
from pigeonhole.settings import Settings
from tests.ledger.conftest import FIRST, SECOND, A, B, Clock, answers_for, batch_of, finished_job, open_job


def test_a_job_goes_from_open_to_closed_to_finished(settings: Settings, clock: Clock) -> None:
    ledger = Ledger(settings, now=clock)
    job = ledger.create("digits", ("photos", "caf\u00e9\udcff"))
    made = ledger.status(job)
    assert (made.job, made.state, made.model, made.created) == (job, "queued", "digits", clock.now)
    assert made.sources == ("photos", "caf\u00e9\udcff")
    assert (made.started, made.finished, made.batches, made.images, made.over) == (None, None, 0, 0, False)

    ledger.add(job, 0, A)
    ledger.add(job, 1, B)
    clock += 10
    assert ledger.claim(job, FIRST) == A
    at_work = ledger.status(job)
    assert (at_work.state, at_work.started, at_work.batches, at_work.images) == ("running", clock.now, 2, 3)
    assert (at_work.batches_waiting, at_work.batches_claimed) == (1, 1)

    best, ppm = array("H", [0, 0]), array("I", [0, 7])
    errors = Answers("digits@1", ("0",), 2, 1, best, ppm, frozenset({1}), {0: ("missing", "no such file")})
    assert ledger.commit(job, FIRST, errors)
    assert ledger.close(job, 2)
    assert not ledger.status(job).submitting
    clock += 10
    assert ledger.claim(job, SECOND) == B
    assert ledger.commit(job, SECOND, answers_for(B))
    end = ledger.status(job)
    assert (end.state, end.over, end.started, end.finished) == ("finished", True, clock.now - 10, clock.now)
    assert (end.images, end.done, end.errors, end.reviews, end.labels) == (3, 3, 1, 1, 2)
    assert (end.batches, end.batches_waiting, end.batches_claimed) == (2, 0, 0)
    assert end.to_json()["labels"] == 2
    assert [done.pieces for done in ledger.read(job, 0, 8)] == [
        [(A, replace(errors, batch=A.digest))],
        [(B, answers_for(B))],
    ]


def test_an_open_job_is_not_finished_by_its_last_commit(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    ledger.commit(job, SECOND, answers_for(B))
    assert ledger.status(job).submitting
    assert ledger.close(job, 2)
    assert ledger.status(job).state == "finished"


def test_a_job_without_batches_is_finished_when_it_is_closed(ledger: Ledger) -> None:
    job = ledger.create("digits", ())
    assert ledger.close(job, 0)
    assert ledger.status(job).state == "finished"
    assert [done.pieces for done in ledger.read(job, 0, 8)] == []
    assert ledger.pending(job) == []


def test_a_job_id_begins_with_the_date_and_is_unique(settings: Settings) -> None:
    ledger = Ledger(settings, now=lambda: 1_800_000_000.9)
    names = {ledger.create("digits", ()) for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"20270115-080000-[0-9a-f]{6}", name) for name in names)


def test_without_an_injected_clock_the_ledger_uses_the_clock_of_redis(ledger: Ledger) -> None:
    before = float("{}.{:06d}".format(*ledger.client.time()))
    job = finished_job(ledger, "a.png")
    status = ledger.status(job)
    assert status.finished is not None
    assert before <= status.created <= status.finished <= float("{}.{:06d}".format(*ledger.client.time()))


def test_a_complete_job_can_be_submitted_again(ledger: Ledger) -> None:
    job = finished_job(ledger, "a.png")
    assert not ledger.add(job, 0, batch_of("a.png"))
    assert ledger.close(job, 1)


def test_a_job_that_lacks_a_batch_is_not_closed(ledger: Ledger) -> None:
    job = open_job(ledger)
    assert not ledger.close(job, 3)
    assert ledger.status(job).submitting
    assert ledger.add(job, 2, A)
    assert ledger.close(job, 3)
    assert not ledger.status(job).submitting


def test_a_job_with_more_batches_than_its_sources_is_not_closed(ledger: Ledger) -> None:
    job = open_job(ledger)
    with pytest.raises(UsageError, match=f"job {job} has 2 batches.* 1"):
        ledger.close(job, 1)
    assert ledger.status(job).submitting


def test_expired_jobs_leave_the_list_when_a_job_is_created(ledger: Ledger, raw: Client, settings: Settings) -> None:
    expired, active = open_job(ledger), open_job(ledger)
    raw.delete(f"{settings.prefix}:job:{expired}")
    new = open_job(ledger)
    assert set(raw.zrange(f"{settings.prefix}:jobs", 0, -1)) == {active.encode(), new.encode()}


def test_the_time_of_the_last_sweep_is_known_until_the_sweep_gap_ends(settings: Settings, clock: Clock) -> None:
    ledger = Ledger(settings, now=clock)
    assert not ledger.swept_lately()
    ledger.note_sweep()
    clock += SWEEP_GAP / 2
    for _ in range(2):  # a retry after a lost reply has the same result
        assert ledger.swept_lately()
    clock += SWEEP_GAP / 2
    assert not ledger.swept_lately()


def test_a_cancelled_job_keeps_its_rows_and_has_no_pending_batches(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    ledger.claim(job, SECOND)
    ledger.cancel(job)
    status = ledger.status(job)
    assert (status.state, status.over, status.done) == ("cancelled", True, 2)
    assert (status.batches_waiting, status.batches_claimed) == (0, 0)
    assert ledger.pending(job) == []
    assert not ledger.commit(job, SECOND, answers_for(B))
    assert [done.pieces for done in ledger.read(job, 0, 8)] == [[(A, answers_for(A))]]
    cancelled = f"job {job} .*`pigeonhole results {job}`"
    with pytest.raises(JobCancelled, match=cancelled):
        ledger.add(job, 2, B)
    with pytest.raises(JobCancelled, match=cancelled):
        ledger.close(job, 2)
    ledger.cancel(job)  # a retry after a lost reply changes nothing
    assert ledger.status(job) == status
    assert ledger.status(job) == status


def test_a_closed_job_can_be_cancelled(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.close(job, 2)
    ledger.cancel(job)
    assert ledger.status(job).state == "cancelled"


def test_a_finished_job_can_be_closed_again_but_not_cancelled_or_extended(ledger: Ledger) -> None:
    job = finished_job(ledger, "a.png")
    before = ledger.status(job)
    assert ledger.close(job, 1)
    with pytest.raises(UsageError, match=f"job {job} is finished"):
        ledger.cancel(job)
    with pytest.raises(UsageError, match=f"job {job} is finished.* submit a new one"):
        ledger.add(job, 1, B)
    assert ledger.status(job) == before


def test_a_closed_job_accepts_no_more_batches(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.close(job, 2)
    with pytest.raises(UsageError, match=f"job {job} .* submit a new one"):
        ledger.add(job, 2, B)
    assert ledger.status(job).batches == 2


@pytest.mark.parametrize("deleted", ["submitting", "queued", "finished", "cancelled"])
def test_a_deleted_job_leaves_no_keys_and_is_unknown(
    ledger: Ledger, raw: Client, settings: Settings, deleted: str
) -> None:
    job = open_job(ledger)
    if deleted in ("queued", "finished"):
        ledger.close(job, 2)
    if deleted == "finished":
        ledger.commit(job, FIRST, answers_for(A))
        ledger.commit(job, SECOND, answers_for(B))
    if deleted == "cancelled":
        ledger.cancel(job)
    assert deleted in (ledger.status(job).state, "submitting")
    ledger.delete(job)
    assert list(raw.scan_iter(f"{settings.prefix}:*")) == []
    unknown = f"no job '{job}': .*`pigeonhole status`"
    for call in (ledger.status, lambda job: ledger.close(job, 2), ledger.cancel, ledger.delete, ledger.pending):
        with pytest.raises(UnknownJob, match=unknown):
            call(job)
    with pytest.raises(UnknownJob, match=unknown):
        ledger.add(job, 2, B)
    assert not ledger.commit(job, FIRST, answers_for(A))
    assert ledger.overdue(job, 10) == Overdue([], [], [])
    assert [done.pieces for done in ledger.read(job, 0, 8)] == []
    assert list(raw.scan_iter(f"{settings.prefix}:*")) == []


@pytest.mark.parametrize("name", ["", "x", "caf\udce9", "{job}:rows", "{job}:refs", "*", "{job}\n", "../{job}"])
def test_an_invalid_job_id_is_unknown_and_touches_no_job(ledger: Ledger, name: str) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    wrong = name.format(job=job)
    calls = (ledger.status, ledger.delete, ledger.cancel, ledger.pending, lambda job: ledger.close(job, 2))
    for call in (
        *calls,
        lambda job: ledger.claim(job, FIRST),
        lambda job: [done.pieces for done in ledger.read(job, 0, 1)],
    ):
        with pytest.raises(UnknownJob):
            call(wrong)
    assert [done.pieces for done in ledger.read(job, 0, 1)] == [[(A, answers_for(A))]]


def test_a_foreign_name_in_the_list_of_jobs_hides_no_job(ledger: Ledger, settings: Settings) -> None:
    job = open_job(ledger)
    ledger.client.zadd(f"{settings.prefix}:jobs", {"foreign": 1})
    assert [status.job for status in ledger.statuses()] == [job]
