"""The ledger on a real Redis: each step on time, late, twice, and at the wrong time."""

import re
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from pigeonhole.errors import JobCancelled, MessageInvalid, UnknownJob, UsageError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.upkeep import SWEEP_GAP, Overdue
from pigeonhole.ledger.wire.messages import Answers, Batch, Group
from pigeonhole.settings import Settings
from pigeonhole.sources.members.tar_archives import TarPlace
from tests.ledger.conftest import FIRST, SECOND, A, B, Clock, answers_for, batch_of, finished_job, open_job, piece

NO_JOB = "20200101-000000-abcdef"


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


def test_the_last_commit_finishes_nothing_while_the_source_is_not_exhausted(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    ledger.commit(job, SECOND, answers_for(B))
    assert ledger.status(job).submitting
    assert ledger.close(job, 2)
    assert ledger.status(job).state == "finished"


def test_a_job_of_no_batches_is_finished_when_it_is_closed(ledger: Ledger) -> None:
    job = ledger.create("digits", ())
    assert ledger.close(job, 0)
    assert ledger.status(job).state == "finished"
    assert [done.pieces for done in ledger.read(job, 0, 8)] == []
    assert ledger.pending(job) == []


def test_the_name_of_a_job_begins_with_the_date_and_no_two_are_alike(settings: Settings) -> None:
    ledger = Ledger(settings, now=lambda: 1_800_000_000.9)
    names = {ledger.create("digits", ()) for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"20270115-080000-[0-9a-f]{6}", name) for name in names)


def test_without_a_clock_of_its_own_the_ledger_goes_by_that_of_redis(ledger: Ledger) -> None:
    before = float("{}.{:06d}".format(*ledger.client.time()))
    job = finished_job(ledger, "a.png")
    status = ledger.status(job)
    assert status.finished is not None
    assert before <= status.created <= status.finished <= float("{}.{:06d}".format(*ledger.client.time()))


def test_adding_a_batch_again_changes_nothing(ledger: Ledger) -> None:
    job = open_job(ledger)
    before = ledger.status(job)
    assert ledger.add(job, 0, A) is None
    assert ledger.add(job, 1, B) is None
    assert ledger.status(job) == before
    assert ledger.add(job, 2, A) == piece(A, 2)


def test_another_batch_under_the_same_number_is_refused_since_the_sources_have_changed(ledger: Ledger) -> None:
    job = open_job(ledger)
    with pytest.raises(UsageError, match=f"^job {job} has other images in its batch 1: "):
        ledger.add(job, 1, batch_of("something", "else"))
    assert ledger.claim(job, SECOND) == B


def test_the_same_images_shown_otherwise_are_the_same_batch(ledger: Ledger) -> None:
    job = ledger.create("digits", ("photos",))
    ledger.add(job, 0, Batch((Group("file", "photos/", "home/photos/", ("a.png", "b.png")),)))
    assert not ledger.add(
        job,
        0,
        Batch((Group("file", "./photos/", "home/photos/", ("a.png",)), Group("file", "", "home/", ("photos/b.png",)))),
    )


def test_an_archive_whose_members_lie_elsewhere_by_now_is_another(ledger: Ledger) -> None:
    job = ledger.create("digits", ("x.tar",))
    before, now = (Batch((Group("tar", "x.tar", "x.tar", ("::a.png",), (TarPlace(512, 9, at),)),)) for at in (1, 2))
    ledger.add(job, 0, before)
    assert not ledger.add(job, 0, before)
    with pytest.raises(UsageError, match="has other images in its batch 0"):
        ledger.add(job, 0, now)


def test_a_complete_job_takes_no_offence_at_being_submitted_once_more(ledger: Ledger) -> None:
    job = finished_job(ledger, "a.png")
    assert not ledger.add(job, 0, batch_of("a.png"))
    assert ledger.close(job, 1)


def test_a_job_of_which_redis_forgot_a_batch_is_not_closed(ledger: Ledger) -> None:
    job = open_job(ledger)
    assert not ledger.close(job, 3)
    assert ledger.status(job).submitting
    assert ledger.add(job, 2, A)
    assert ledger.close(job, 3)
    assert not ledger.status(job).submitting


def test_a_job_that_holds_more_than_its_sources_make_is_not_closed(ledger: Ledger) -> None:
    job = open_job(ledger)
    with pytest.raises(UsageError, match=f"^job {job} has 2 batches, and these sources have 1"):
        ledger.close(job, 1)
    assert ledger.status(job).submitting


def test_adding_a_batch_again_that_is_done_does_not_make_it_pending(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    ledger.add(job, 0, A)
    assert ledger.claim(job, FIRST) is None
    assert ledger.status(job).batches_waiting == 1


def test_of_many_commits_of_a_batch_one_counts(settings: Settings) -> None:
    job = open_job(Ledger(settings))
    racers = 8
    start = Barrier(racers)

    def commit(number: int) -> bool:
        ledger = Ledger(settings)
        ledger.claim(job, FIRST)
        start.wait()
        return ledger.commit(job, FIRST, answers_for(A, f"digits@{number:012}"))

    with ThreadPoolExecutor(racers) as pool:
        won = list(pool.map(commit, range(racers)))
    assert won.count(True) == 1
    ledger = Ledger(settings)
    assert ledger.status(job).done == len(A)
    [[(_, answers)]] = [done.pieces for done in ledger.read(job, 0, 1)]
    assert answers.model == f"digits@{won.index(True):012}"


def test_a_batch_counts_for_whoever_commits_it_first_claimed_or_not(ledger: Ledger) -> None:
    job = open_job(ledger)
    assert ledger.commit(job, FIRST, answers_for(A))
    assert not ledger.commit(job, FIRST, answers_for(A))
    assert ledger.status(job).done == 2


@pytest.mark.parametrize("number", [2, 99, -1])
def test_a_commit_of_a_batch_that_is_not_pending_changes_nothing(ledger: Ledger, raw: Client, number: int) -> None:
    job = open_job(ledger)
    before = ledger.status(job)
    assert not ledger.commit(job, piece(A, number), answers_for(A))
    assert ledger.status(job) == before
    assert not ledger.commit(NO_JOB, FIRST, answers_for(A))
    assert not list(raw.scan_iter(f"{ledger.settings.prefix}:job:{NO_JOB}*"))


def test_there_is_nothing_to_claim_of_what_is_done_unknown_cancelled_or_deleted(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    assert ledger.claim(job, FIRST) is None
    assert ledger.claim(job, piece(A, 2)) is None
    assert ledger.claim(NO_JOB, FIRST) is None
    ledger.cancel(job)
    assert ledger.claim(job, SECOND) is None
    ledger.delete(job)
    assert ledger.claim(job, SECOND) is None


def test_jobs_that_have_expired_leave_the_list_when_others_are_made(
    ledger: Ledger, raw: Client, settings: Settings
) -> None:
    gone, there = open_job(ledger), open_job(ledger)
    raw.delete(f"{settings.prefix}:job:{gone}")
    new = open_job(ledger)
    assert set(raw.zrange(f"{settings.prefix}:jobs", 0, -1)) == {there.encode(), new.encode()}


def test_when_the_last_sweep_was_stays_known_for_a_while(settings: Settings, clock: Clock) -> None:
    ledger = Ledger(settings, now=clock)
    assert not ledger.swept_lately()
    ledger.note_sweep()
    clock += SWEEP_GAP / 2
    for _ in range(2):  # a retry after a lost reply has the same result
        assert ledger.swept_lately()
    clock += SWEEP_GAP / 2
    assert not ledger.swept_lately()


def test_a_piece_of_references_that_redis_forgot_is_none_of_those_now_on_record(ledger: Ledger, raw: Client) -> None:
    job = open_job(ledger)
    ledger.claim(job, FIRST)
    before, keys = ledger.status(job), _content(raw, ledger, job)
    forgotten = piece(B)  # batch 0 was B until Redis lost it
    assert ledger.claim(job, forgotten) is None
    assert ledger.renew(job, [forgotten]) == 0
    assert not ledger.release(job, forgotten)
    assert not ledger.commit(job, forgotten, answers_for(B))
    assert not ledger.commit(job, piece(B, 0, 0, 1), answers_for(B))
    with pytest.raises(MessageInvalid, match=f"^the references on record for batch 0 are not those of {forgotten}$"):
        ledger.lose(job, forgotten, "digits")
    assert ledger.overdue(job, 0) == Overdue([], [], [])
    assert (ledger.status(job), _content(raw, ledger, job)) == (before, keys)
    assert ledger.commit(job, FIRST, answers_for(A))


def test_a_name_of_other_references_that_somebody_wrote_among_the_pieces_is_not_claimed(
    ledger: Ledger, raw: Client
) -> None:
    job, wrong = open_job(ledger), piece(B)
    raw.zadd(f"{ledger.settings.prefix}:job:{job}:waiting", {str(wrong): 0})
    with pytest.raises(MessageInvalid, match=r"^the references on record for batch 0 are not those of "):
        ledger.claim(job, wrong)


def test_answers_to_other_references_are_refused_where_they_are_read(ledger: Ledger, raw: Client) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    for digest in (B.digest, ""):
        raw.hset(f"{ledger.settings.prefix}:job:{job}:rows", "0", replace(answers_for(A), batch=digest).encode())
        with pytest.raises(MessageInvalid) as refused:
            [done.pieces for done in ledger.read(job, 0, 1)]
        assert str(refused.value) == (
            "the answers to batch 0 belong to other references than those on record: delete the job, "
            "then submit it again"
        )


def _content(raw: Client, ledger: Ledger, job: str) -> dict[bytes, bytes]:
    return {key: raw.dump(key) for key in raw.scan_iter(f"{ledger.settings.prefix}:job:{job}*")}


def test_a_claim_keeps_nobody_out(ledger: Ledger) -> None:
    job = open_job(ledger)
    assert ledger.claim(job, FIRST) == ledger.claim(job, FIRST) == A
    assert ledger.status(job).batches_claimed == 1


def test_a_cancelled_job_keeps_the_rows_it_has_and_has_nothing_pending(ledger: Ledger) -> None:
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
    said = f"^job {job} was cancelled; `pigeonhole results {job}` has the rows finished before that$"
    with pytest.raises(JobCancelled, match=said):
        ledger.add(job, 2, B)
    with pytest.raises(JobCancelled, match=said):
        ledger.close(job, 2)
    ledger.cancel(job)  # a retry after a lost reply changes nothing
    assert ledger.status(job) == status
    assert ledger.status(job) == status


def test_a_closed_job_can_be_cancelled(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.close(job, 2)
    ledger.cancel(job)
    assert ledger.status(job).state == "cancelled"


def test_a_finished_job_can_be_closed_again_but_neither_cancelled_nor_added_to(ledger: Ledger) -> None:
    job = finished_job(ledger, "a.png")
    before = ledger.status(job)
    assert ledger.close(job, 1)
    with pytest.raises(UsageError, match=f"^job {job} is finished already$"):
        ledger.cancel(job)
    with pytest.raises(UsageError, match=f"^job {job} is finished: nothing can be added to it; submit a new one$"):
        ledger.add(job, 1, B)
    assert ledger.status(job) == before


def test_a_closed_job_takes_no_more(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.close(job, 2)
    refused = f"^job {job} has all of its images: nothing can be added to it; submit a new one$"
    with pytest.raises(UsageError, match=refused):
        ledger.add(job, 2, B)
    assert ledger.status(job).batches == 2


@pytest.mark.parametrize("deleted", ["submitting", "queued", "finished", "cancelled"])
def test_a_deleted_job_leaves_nothing_behind_and_is_unknown(
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
    said = f"^no job '{job}': .*`pigeonhole status`"
    for call in (ledger.status, lambda job: ledger.close(job, 2), ledger.cancel, ledger.delete, ledger.pending):
        with pytest.raises(UnknownJob, match=said):
            call(job)
    with pytest.raises(UnknownJob, match=said):
        ledger.add(job, 2, B)
    assert not ledger.commit(job, FIRST, answers_for(A))
    assert ledger.overdue(job, 10) == Overdue([], [], [])
    assert [done.pieces for done in ledger.read(job, 0, 8)] == []
    assert list(raw.scan_iter(f"{settings.prefix}:*")) == []


@pytest.mark.parametrize("name", ["", "x", "caf\udce9", "{job}:rows", "{job}:refs", "*", "{job}\n", "../{job}"])
def test_what_is_no_jobs_name_is_unknown_and_touches_no_other(ledger: Ledger, name: str) -> None:
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


def test_a_name_that_we_never_give_in_the_list_of_jobs_hides_no_job(ledger: Ledger, settings: Settings) -> None:
    job = open_job(ledger)
    ledger.client.zadd(f"{settings.prefix}:jobs", {"somebody else's": 1})
    assert [status.job for status in ledger.statuses()] == [job]


def test_rows_are_read_up_to_the_first_batch_that_is_not_done(ledger: Ledger) -> None:
    job = ledger.create("digits", ("photos",))
    batches = [batch_of(f"{number}.png") for number in range(5)]
    for number, batch in enumerate(batches):
        ledger.add(job, number, batch)
    for number in (0, 1, 3, 4):
        ledger.commit(job, piece(batches[number], number), answers_for(batches[number]))
    assert [batch for [(batch, _)] in [done.pieces for done in ledger.read(job, 0, 8)]] == batches[:2]
    assert [batch for [(batch, _)] in [done.pieces for done in ledger.read(job, 0, 1)]] == batches[:1]
    assert [done.pieces for done in ledger.read(job, 2, 8)] == []
    assert [batch for [(batch, _)] in [done.pieces for done in ledger.read(job, 3, 8)]] == batches[3:]
