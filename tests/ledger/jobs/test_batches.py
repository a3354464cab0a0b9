"""The batches of a job on a real Redis: added, claimed, committed and read, also late or twice."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from pigeonhole.errors import MessageInvalid, UsageError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.upkeep import Overdue
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.settings import Settings
from pigeonhole.sources.members.tar_archives import TarPlace
from tests.ledger.conftest import FIRST, SECOND, A, B, answers_for, batch_of, open_job, piece
from tests.messages import check_message

NO_JOB = "20200101-000000-abcdef"


def test_adding_a_batch_again_changes_nothing(ledger: Ledger) -> None:
    job = open_job(ledger)
    before = ledger.status(job)
    assert ledger.add(job, 0, A) is None
    assert ledger.add(job, 1, B) is None
    assert ledger.status(job) == before
    assert ledger.add(job, 2, A) == piece(A, 2)


def test_another_batch_with_the_same_number_is_refused(ledger: Ledger) -> None:
    job = open_job(ledger)
    with pytest.raises(UsageError, match=f"job {job} .*batch 1: "):
        ledger.add(job, 1, batch_of("something", "else"))
    assert ledger.claim(job, SECOND) == B


def test_the_same_images_with_other_shown_paths_are_the_same_batch(ledger: Ledger) -> None:
    job = ledger.create("digits", ("photos",))
    ledger.add(job, 0, Batch((Group("file", "photos/", "home/photos/", ("a.png", "b.png")),)))
    assert not ledger.add(
        job,
        0,
        Batch((Group("file", "./photos/", "home/photos/", ("a.png",)), Group("file", "", "home/", ("photos/b.png",)))),
    )


def test_archive_members_at_other_places_are_another_batch(ledger: Ledger) -> None:
    job = ledger.create("digits", ("x.tar",))
    before, now = (Batch((Group("tar", "x.tar", "x.tar", ("::a.png",), (TarPlace(512, 9, at),)),)) for at in (1, 2))
    ledger.add(job, 0, before)
    assert not ledger.add(job, 0, before)
    with pytest.raises(UsageError, match=f"job {job} .*batch 0: "):
        ledger.add(job, 0, now)


def test_adding_a_finished_batch_again_does_not_make_it_pending(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    ledger.add(job, 0, A)
    assert ledger.claim(job, FIRST) is None
    assert ledger.status(job).batches_waiting == 1


def test_only_one_of_many_commits_of_a_batch_counts(settings: Settings) -> None:
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


def test_the_first_commit_of_a_batch_counts_whether_it_was_claimed_or_not(ledger: Ledger) -> None:
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


def test_a_finished_unknown_cancelled_or_deleted_batch_can_not_be_claimed(ledger: Ledger) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    assert ledger.claim(job, FIRST) is None
    assert ledger.claim(job, piece(A, 2)) is None
    assert ledger.claim(NO_JOB, FIRST) is None
    ledger.cancel(job)
    assert ledger.claim(job, SECOND) is None
    ledger.delete(job)
    assert ledger.claim(job, SECOND) is None


def test_a_piece_of_lost_references_can_not_be_claimed_or_committed(ledger: Ledger, raw: Client) -> None:
    job = open_job(ledger)
    ledger.claim(job, FIRST)
    before, keys = ledger.status(job), _content(raw, ledger, job)
    lost = piece(B)  # batch 0 was B until Redis lost it
    assert ledger.claim(job, lost) is None
    assert ledger.renew(job, [lost]) == 0
    assert not ledger.release(job, lost)
    assert not ledger.commit(job, lost, answers_for(B))
    assert not ledger.commit(job, piece(B, 0, 0, 1), answers_for(B))
    with pytest.raises(MessageInvalid, match=f"batch 0 .*{lost}$"):
        ledger.lose(job, lost, "digits")
    assert ledger.overdue(job, 0) == Overdue([], [], [])
    assert (ledger.status(job), _content(raw, ledger, job)) == (before, keys)
    assert ledger.commit(job, FIRST, answers_for(A))


def test_a_piece_with_the_digest_of_other_references_is_not_claimed(ledger: Ledger, raw: Client) -> None:
    job, wrong = open_job(ledger), piece(B)
    raw.zadd(f"{ledger.settings.prefix}:job:{job}:waiting", {str(wrong): 0})
    with pytest.raises(MessageInvalid, match=f"batch 0 .*{wrong}"):
        ledger.claim(job, wrong)


def test_answers_to_other_references_are_refused_on_reading(ledger: Ledger, raw: Client) -> None:
    job = open_job(ledger)
    ledger.commit(job, FIRST, answers_for(A))
    for digest in (B.digest, ""):
        raw.hset(f"{ledger.settings.prefix}:job:{job}:rows", "0", replace(answers_for(A), batch=digest).encode())
        with pytest.raises(MessageInvalid) as error:
            [done.pieces for done in ledger.read(job, 0, 1)]
        check_message(error.value, "batch 0", "delete the job", "submit it again")


def _content(raw: Client, ledger: Ledger, job: str) -> dict[bytes, bytes]:
    return {key: raw.dump(key) for key in raw.scan_iter(f"{ledger.settings.prefix}:job:{job}*")}


def test_a_claimed_batch_can_be_claimed_again(ledger: Ledger) -> None:
    job = open_job(ledger)
    assert ledger.claim(job, FIRST) == ledger.claim(job, FIRST) == A
    assert ledger.status(job).batches_claimed == 1


def test_rows_are_read_up_to_the_first_unfinished_batch(ledger: Ledger) -> None:
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
