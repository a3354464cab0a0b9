"""Processes that die with a piece in hand: whatever kills them ends alone, and costs nobody else a row."""

import math
import random
from itertools import chain

import pytest

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.ledger import DEATHS, LEASE, Ledger
from pigeonhole.ledger.messages import Answers, Batch, Group
from pigeonhole.ledger.pieces import PARTS, Piece
from pigeonhole.ledger.task_queue import Queue, sweep
from pigeonhole.settings import Settings
from tests.ledger.conftest import Clock, answers_for, batch_of

BLAME = ("crashed", "reading it ends the process that does (SIGSEGV)")


def images(count: int) -> Batch:
    """A batch in two groups, so that parts of it begin and end within and between them."""
    names = tuple(f"{number:04}.png" for number in range(count))
    return Batch((Group("a/", "", names[: count // 3]), Group("b/", "", names[count // 3 :])))


def job_of(ledger: Ledger, batch: Batch) -> str:
    job = ledger.create("digits", ("photos",))
    ledger.add(job, 0, batch)
    ledger.close(job, 1)
    return job


def work_off(ledger: Ledger, job: str, killers: set[str]) -> int:
    """Do what workers do with what is published, dying where a killer is in hand; gives the number of deaths."""
    published, deaths = [Piece(0)], 0
    while published:
        piece = published.pop(random.randrange(len(published)))
        batch = ledger.claim(job, piece)
        if batch is None:
            continue
        if killers & set(batch.rooted()):
            if piece.suspect:  # a worker tries it in a process of its own, which dies in its place
                ledger.commit(job, piece, Answers.failed("digits@1", [BLAME]))
                continue
            deaths += 1
            published += ledger.died(job, piece, "digits@0123456789ab")
        else:
            ledger.commit(job, piece, answers_for(batch))
    return deaths


@pytest.mark.parametrize(
    ("count", "killers"),
    [(1, {0}), (2, {1}), (64, {17}), (100, {0, 99}), (2048, {2047}), (2048, {5, 6}), (7, {2, 3, 4})],
)
def test_an_image_that_kills_its_process_ends_alone_and_all_others_have_their_rows(
    ledger: Ledger, count: int, killers: set[int]
) -> None:
    batch = images(count)
    job = job_of(ledger, batch)
    deaths = work_off(ledger, job, {f"{number:04}.png" for number in killers})
    assert deaths <= len(killers) * math.ceil(math.log(count, PARTS) + 1), "a level for each time it is split"
    assert deaths <= len(killers) * (math.log2(count) + 4)
    status = ledger.status(job)
    assert (status.state, status.done, status.errors) == ("finished", count, len(killers))
    [pieces] = ledger.read(job, 0, 8)
    rows = list(chain.from_iterable(answers.predictions(part) for part, answers in pieces))
    assert [row.path for row in rows] == list(batch.shown())
    assert {number for number, row in enumerate(rows) if row.error} == killers
    assert {row.error for row in rows if row.error} == {": ".join(BLAME)}


def test_what_a_late_owner_of_a_split_batch_commits_is_dropped(ledger: Ledger) -> None:
    batch = images(20)
    job = job_of(ledger, batch)
    ledger.claim(job, Piece(0))
    assert ledger.died(job, Piece(0), "digits") == Piece(0).split(20)
    assert not ledger.commit(job, Piece(0), answers_for(batch))
    assert ledger.claim(job, Piece(0)) is None
    assert ledger.status(job).done == 0
    assert ledger.read(job, 0, 8) == []
    for piece in ledger.owed(job):
        part = ledger.claim(job, piece)
        assert part is not None
        assert ledger.read(job, 0, 8) == [], "a part of a batch is not done"
        assert ledger.commit(job, piece, answers_for(part))
    assert [part for part, _ in ledger.read(job, 0, 8)[0]] == [piece.of(batch) for piece in Piece(0).split(20)]


def test_a_death_counts_only_where_somebody_had_the_piece_in_hand(ledger: Ledger) -> None:
    job = job_of(ledger, images(4))
    assert ledger.died(job, Piece(0), "digits") == [], "it waits: whoever died had not claimed it"
    ledger.claim(job, Piece(0))
    assert len(ledger.died(job, Piece(0), "digits")) == 4
    assert ledger.died(job, Piece(0), "digits") == [], "told twice, it counts once"
    assert ledger.died("20200101-000000-abcdef", Piece(0), "digits") == []


def test_an_image_that_is_alone_in_its_batch_is_set_apart_by_the_first_death(ledger: Ledger) -> None:
    job = job_of(ledger, batch_of("a.png"))
    ledger.claim(job, Piece(0))
    assert ledger.died(job, Piece(0), "digits") == [Piece(0, 0, 1)]
    assert Piece(0, 0, 1).suspect
    assert not Piece(0).suspect


def test_a_single_image_that_is_lost_again_and_again_does_not_go_round_for_ever(ledger: Ledger) -> None:
    job, alone = job_of(ledger, batch_of("a.png")), Piece(0, 0, 1)
    ledger.claim(job, Piece(0))
    ledger.died(job, Piece(0), "digits")
    for _ in range(DEATHS - 1):
        ledger.claim(job, alone)
        assert ledger.died(job, alone, "digits@1") == [alone]
    ledger.claim(job, alone)
    assert ledger.died(job, alone, "digits@1") == []
    [[(batch, answers)]] = ledger.read(job, 0, 8)
    (row,) = answers.predictions(batch)
    assert row.error == f"crashed: the process that had it, and nothing else, in hand ended {DEATHS} times"
    assert ledger.status(job).state == "finished"


def test_a_single_image_that_is_read_after_all_is_not_blamed(ledger: Ledger) -> None:
    job, alone = job_of(ledger, batch_of("a.png")), Piece(0, 0, 1)
    ledger.claim(job, Piece(0))
    ledger.died(job, Piece(0), "digits")
    for _ in range(DEATHS - 1):
        ledger.claim(job, alone)
        assert ledger.died(job, alone, "digits") == [alone]
    ledger.claim(job, alone)
    assert ledger.commit(job, alone, answers_for(batch_of("a.png")))
    assert ledger.status(job).errors == 0


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 100, 2048])
def test_the_parts_of_a_piece_cover_it_and_are_of_about_one_size(count: int) -> None:
    parts = Piece(3).split(count)
    assert len(parts) == min(PARTS, count)
    assert [index for part in parts for index in range(part.start, part.stop or 0)] == list(range(count))
    sizes = {(part.stop or 0) - part.start for part in parts}
    assert max(sizes) - min(sizes) <= 1
    inner = [smaller for part in parts for smaller in part.split(count)]
    assert [piece for piece in inner if piece.suspect] == inner or count > PARTS**2


def test_a_lease_that_ran_out_counts_as_a_death(settings: Settings, clock: Clock) -> None:
    ledger, queue = Ledger(settings, now=clock), Queue(settings)
    job = job_of(ledger, images(8))
    ledger.claim(job, Piece(0))
    clock += LEASE - 1
    assert sweep(ledger, queue) == 0
    clock += 1
    assert sweep(ledger, queue) == 8
    assert ledger.owed(job) == Piece(0).split(8)


def test_a_batch_that_can_not_be_read_does_not_keep_the_sweep_from_others(settings: Settings, clock: Clock) -> None:
    ledger, queue = Ledger(settings, now=clock), Queue(settings)
    damaged, sound = job_of(ledger, images(2)), job_of(ledger, images(2))
    for job in (damaged, sound):
        ledger.claim(job, Piece(0))
    ledger.client.hset(f"{settings.prefix}:job:{damaged}:refs", 0, b"?")
    clock += LEASE
    ledger.note_sweep()
    assert sweep(ledger, queue) == 2
    assert ledger.owed(damaged) == [Piece(0)], "another worker may be able to read it"
    clock += settings.publish_seconds + 1
    assert sweep(ledger, queue) >= 1, "so it is published again"


def test_keys_of_a_split_job_expire_with_it(ledger: Ledger, settings: Settings) -> None:
    job = job_of(ledger, images(8))
    work_off(ledger, job, {"0003.png"})
    for key in ledger.client.scan_iter(f"{settings.prefix}:job:{job}*"):
        assert ledger.client.ttl(key) > 0, key
    ledger.delete(job)
    assert list(ledger.client.scan_iter(f"{settings.prefix}:job:{job}*")) == []


@pytest.mark.parametrize("piece", [Piece(0), Piece(17), Piece(17, 0, 1), Piece(123456, 32, 2048)])
def test_a_piece_is_read_as_it_is_spelled(piece: Piece) -> None:
    assert Piece.parse(str(piece)) == piece


@pytest.mark.parametrize("text", ["", "x", "-1", "1:", "1:2", "1:2:3:4", "1;2", "1:2:x", "9" * 40, "1\n", "²"])
def test_what_is_no_piece_is_refused(text: str) -> None:
    with pytest.raises(MessageInvalid, match="is not the number of a batch, nor of a part of one"):
        Piece.parse(text)
