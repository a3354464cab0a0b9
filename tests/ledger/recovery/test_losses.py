"""Worker losses: an image that crashes its reader gets isolated, and all other images get their rows."""

import math
import random
import re
from itertools import chain

import pytest

from pigeonhole.errors import MessageInvalid
from pigeonhole.ledger.leases import LEASE, LOSSES
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import PARTS, Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.sweep import sweep
from pigeonhole.ledger.wire.messages import Answers, Batch, Group
from pigeonhole.settings import Settings
from tests.ledger.conftest import A, Clock, answers_for, batch_of, piece
from tests.messages import check_message

CRASHED = ("crashed", "reading it ends the process (SIGSEGV)")
ONE = batch_of("a.png")
#: The only image of the batch, after a process was lost with it.
ALONE = piece(ONE, 0, 0, 1)


def images(count: int) -> Batch:
    """Return a batch in two groups, so that its parts begin and end within and between groups."""
    names = tuple(f"{number:04}.png" for number in range(count))
    return Batch((Group("file", "a/", "", names[: count // 3]), Group("file", "b/", "", names[count // 3 :])))


def job_of(ledger: Ledger, batch: Batch) -> str:
    job = ledger.create("digits", ("photos",))
    ledger.add(job, 0, batch)
    ledger.close(job, 1)
    return job


def process(ledger: Ledger, job: str, batch: Batch, killers: set[str]) -> int:
    """Process a published batch as workers do, losing each piece with a killer image; return the number of losses."""
    published, losses = [piece(batch)], 0
    while published:
        taken = published.pop(random.randrange(len(published)))
        part = ledger.claim(job, taken)
        if part is None:
            continue
        if killers & {location.path for location in part.located()}:
            if taken.quarantined:  # the isolation run crashes in place of the worker process
                ledger.commit(job, taken, Answers.failed("digits@1", [CRASHED]))
                continue
            losses += 1
            published += ledger.lose(job, taken, "digits@0123456789ab")
        else:
            ledger.commit(job, taken, answers_for(part))
    return losses


@pytest.mark.parametrize(
    ("count", "killers"),
    [(1, {0}), (2, {1}), (64, {17}), (100, {0, 99}), (2048, {2047}), (2048, {5, 6}), (7, {2, 3, 4})],
)
def test_an_image_that_kills_its_process_gets_isolated_and_all_other_images_have_rows(
    ledger: Ledger, count: int, killers: set[int]
) -> None:
    batch = images(count)
    job = job_of(ledger, batch)
    losses = process(ledger, job, batch, {f"{number:04}.png" for number in killers})
    assert losses <= len(killers) * math.ceil(math.log(count, PARTS) + 1), "one loss for each level of splitting"
    assert losses <= len(killers) * (math.log2(count) + 4)
    status = ledger.status(job)
    assert (status.state, status.done, status.errors) == ("finished", count, len(killers))
    [pieces] = [done.pieces for done in ledger.read(job, 0, 8)]
    rows = list(chain.from_iterable(answers.rows(part) for part, answers in pieces))
    assert [row.path for row in rows] == list(batch.shown())
    assert {number for number, row in enumerate(rows) if row.error} == killers
    assert {row.error for row in rows if row.error} == {": ".join(CRASHED)}


def test_a_late_commit_of_a_split_batch_is_dropped(ledger: Ledger) -> None:
    batch = images(20)
    job, whole = job_of(ledger, batch), piece(batch)
    ledger.claim(job, whole)
    assert ledger.lose(job, whole, "digits") == whole.split(20)
    assert not ledger.commit(job, whole, answers_for(batch))
    assert ledger.claim(job, whole) is None
    assert ledger.status(job).done == 0
    assert [done.pieces for done in ledger.read(job, 0, 8)] == []
    for waiting in ledger.pending(job):
        part = ledger.claim(job, waiting)
        assert part is not None
        assert [done.pieces for done in ledger.read(job, 0, 8)] == [], "a part of a batch is not done"
        assert ledger.commit(job, waiting, answers_for(part))
    assert [part for part, _ in ledger.read(job, 0, 8)[0].pieces] == [part.of(batch) for part in whole.split(20)]


def test_a_loss_counts_only_for_a_claimed_piece(ledger: Ledger) -> None:
    job, whole = job_of(ledger, images(4)), piece(images(4))
    assert ledger.lose(job, whole, "digits") == [], "the piece waits: the lost process had not claimed it"
    ledger.claim(job, whole)
    assert len(ledger.lose(job, whole, "digits")) == 4
    assert ledger.lose(job, whole, "digits") == [], "a loss that is noted twice counts once"
    assert ledger.lose("20200101-000000-abcdef", whole, "digits") == []


def test_a_batch_of_one_image_is_quarantined_by_its_first_loss(ledger: Ledger) -> None:
    job = job_of(ledger, ONE)
    ledger.claim(job, piece(ONE))
    assert ledger.lose(job, piece(ONE), "digits") == [ALONE]
    assert ALONE.quarantined
    assert not piece(ONE).quarantined


def test_a_quarantined_image_that_is_lost_repeatedly_becomes_an_error_row(ledger: Ledger) -> None:
    job = job_of(ledger, ONE)
    ledger.claim(job, piece(ONE))
    ledger.lose(job, piece(ONE), "digits")
    for _ in range(LOSSES - 1):
        ledger.claim(job, ALONE)
        assert ledger.lose(job, ALONE, "digits@1") == [ALONE]
    ledger.claim(job, ALONE)
    assert ledger.lose(job, ALONE, "digits@1") == []
    [[(batch, answers)]] = [done.pieces for done in ledger.read(job, 0, 8)]
    (row,) = answers.rows(batch)
    assert row.error.startswith("crashed: ")
    assert f"{LOSSES} times" in row.error
    assert ledger.status(job).state == "finished"


def test_a_quarantined_image_that_is_classified_has_no_error(ledger: Ledger) -> None:
    job = job_of(ledger, ONE)
    ledger.claim(job, piece(ONE))
    ledger.lose(job, piece(ONE), "digits")
    for _ in range(LOSSES - 1):
        ledger.claim(job, ALONE)
        assert ledger.lose(job, ALONE, "digits") == [ALONE]
    ledger.claim(job, ALONE)
    assert ledger.commit(job, ALONE, answers_for(ONE))
    assert ledger.status(job).errors == 0


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 100, 2048])
def test_the_parts_of_a_piece_cover_it_and_have_about_the_same_size(count: int) -> None:
    parts = Piece(3, A.digest).split(count)
    assert len(parts) == min(PARTS, count)
    assert [index for part in parts for index in range(part.start, part.stop or 0)] == list(range(count))
    sizes = {(part.stop or 0) - part.start for part in parts}
    assert max(sizes) - min(sizes) <= 1
    inner = [smaller for part in parts for smaller in part.split(count)]
    assert [part for part in inner if part.quarantined] == inner or count > PARTS**2
    assert {part.digest for part in (*parts, *inner)} == {A.digest}


def test_an_expired_lease_counts_as_a_loss(settings: Settings, clock: Clock) -> None:
    ledger, queue = Ledger(settings, now=clock), Queue(settings)
    job, whole = job_of(ledger, images(8)), piece(images(8))
    ledger.claim(job, whole)
    clock += LEASE - 1
    assert sweep(ledger, queue) == 0
    clock += 1
    assert sweep(ledger, queue) == 8
    assert ledger.pending(job) == whole.split(8)


def test_an_unreadable_batch_does_not_keep_the_sweep_from_other_jobs(settings: Settings, clock: Clock) -> None:
    ledger, queue = Ledger(settings, now=clock), Queue(settings)
    damaged, sound = job_of(ledger, images(2)), job_of(ledger, images(2))
    for job in (damaged, sound):
        ledger.claim(job, piece(images(2)))
    ledger.client.hset(f"{settings.prefix}:job:{damaged}:refs", 0, b"?")
    clock += LEASE
    ledger.note_sweep()
    assert sweep(ledger, queue) == 2
    assert ledger.pending(damaged) == [piece(images(2))], "another worker may be able to read it"
    clock += settings.publish_seconds + 1
    assert sweep(ledger, queue) >= 1, "the unreadable batch is published again"


def test_keys_of_a_split_job_expire_with_it(ledger: Ledger, settings: Settings) -> None:
    batch = images(8)
    job = job_of(ledger, batch)
    process(ledger, job, batch, {"0003.png"})
    for key in ledger.client.scan_iter(f"{settings.prefix}:job:{job}*"):
        assert ledger.client.ttl(key) > 0, key
    ledger.delete(job)
    assert list(ledger.client.scan_iter(f"{settings.prefix}:job:{job}*")) == []


DIGEST = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        (f"0-{DIGEST}", "0", Piece(0, DIGEST)),
        (f"17-{DIGEST}:0:1", "17:0:1", Piece(17, DIGEST, 0, 1)),
        (f"123456-{DIGEST}:32:2048", "123456:32:2048", Piece(123456, DIGEST, 32, 2048)),
    ],
)
def test_the_name_of_a_piece_is_parsed_with_or_without_its_digest(name: str, key: str, expected: Piece) -> None:
    assert (str(expected), expected.key) == (name, key)
    assert Piece.parse(name) == Piece.parse_key(key, DIGEST) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "1:", "1:2", "1:2:3:4", "1;2", "1:2:x", "9" * 40, "1\n", "²"])
def test_an_invalid_name_of_a_piece_is_refused(text: str) -> None:
    with pytest.raises(MessageInvalid, match=DIGEST):
        Piece.parse_key(text, DIGEST)
    with pytest.raises(MessageInvalid, match=re.escape(repr(text))):
        Piece.parse(text)


@pytest.mark.parametrize(
    "text", ["17", "17:0:16", "17-", f"17{DIGEST}", f"17-{DIGEST[1:]}", f"17-{DIGEST}0", f"17-{DIGEST.upper()}:0:1"]
)
def test_the_name_of_a_piece_without_a_valid_digest_is_refused(text: str) -> None:
    with pytest.raises(MessageInvalid) as error:
        Piece.parse(text)
    check_message(error.value, repr(text))
