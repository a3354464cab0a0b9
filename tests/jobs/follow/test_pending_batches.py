"""Following a job with batches whose messages are lost, that no worker can read, or whose submitter is lost."""

from dataclasses import replace

import pytest

from pigeonhole.errors import MessageInvalid, NoSubmitter, NoWorker
from pigeonhole.jobs.follow import HELD_BACK_SECONDS, POLL_MOST
from pigeonhole.jobs.retrying import Silent
from pigeonhole.jobs.submitter import GIVE_UP_AFTER
from pigeonhole.ledger.dead_letters import DeadLetters, about, held_back
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.status import SILENT_AFTER
from pigeonhole.ledger.sweep import SWEEP_EVERY
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.text import timestamp
from tests.jobs.follow.scene import DIGITS, Scene, nothing, nth
from tests.messages import check_message


def test_lost_messages_are_published_again_while_the_job_is_followed(scene: Scene) -> None:
    job = scene.job(2)  # its messages are lost

    scene.then(*[lambda: scene.done_once_published(job)] * 500)
    assert scene.rows(job) == ["0.png", "1.png"]
    assert scene.settings.publish_seconds <= sum(scene.slept) <= scene.settings.publish_seconds + 2 * SWEEP_EVERY


@pytest.mark.parametrize("kind", ["gone", "of another type"])
def test_a_followed_job_that_is_missing_from_the_lists_is_swept_again(scene: Scene, raw: Client, kind: str) -> None:
    job = scene.job(2)  # its messages are lost
    for name in ("active", "jobs"):
        raw.delete(f"{scene.settings.prefix}:{name}")
        if kind == "of another type":
            raw.set(f"{scene.settings.prefix}:{name}", "x")

    scene.then(*[lambda: scene.done_once_published(job)] * 500)
    assert scene.rows(job) == ["0.png", "1.png"]
    assert sum(scene.slept) <= scene.settings.publish_seconds + 3 * SWEEP_EVERY


def test_if_no_worker_can_read_the_remaining_batches_following_ends_with_the_reason(scene: Scene) -> None:
    job = scene.job(2)
    letters = DeadLetters(scene.settings)

    def later() -> None:
        scene.workers.announce(DIGITS)
        if scene.ledger.status(job).done == 0:
            letters.add(about(job, 1), "a batch in the ledger has version 9")
            scene.done(job, 0)

    scene.follower.workers = Workers(scene.settings)  # the dead letters have times of Redis' clock
    scene.then(*[later] * 500)
    with pytest.raises(MessageInvalid, match=f"job {job}: a batch in the ledger has version 9$"):
        scene.rows(job)
    assert scene.ledger.pending(job) == [nth(1)], "still pending: a worker of that version may start"


def test_dead_letters_about_finished_or_unknown_pieces_do_not_end_following(scene: Scene) -> None:
    job = scene.job(3)
    letters = DeadLetters(scene.settings)

    def later() -> None:
        scene.workers.announce(DIGITS)
        if scene.ledger.status(job).done == 0:
            letters.add(about(job, 0), "a batch in the ledger has version 9")  # as from an outdated worker
            letters.add(about(job, "garbage"), "no piece has this name")  # any client of Redis can send this
            scene.done(job, 0)
        elif sum(scene.slept) > 60:
            scene.done(job, 1, 2)

    scene.follower.workers = Workers(scene.settings)  # the dead letters have times of Redis' clock
    scene.then(*[later] * 500)
    assert len(scene.rows(job)) == 3


@pytest.mark.parametrize("done", [0, 1])
def test_held_back_batches_end_following_after_a_minute_without_progress(scene: Scene, done: int) -> None:
    job, why = scene.job(3), "the folder '/photos/' is gone"
    letters, notices = DeadLetters(scene.settings), list[str]()

    class Notes(Silent):
        def held(self, why: str) -> None:
            notices.append(why)

    def later() -> None:
        scene.workers.announce(DIGITS)
        letters.add(held_back(job, 2), why)
        if done and sum(scene.slept) > HELD_BACK_SECONDS and scene.ledger.status(job).done == 0:
            scene.done(job, 1)

    scene.follower.retrying.shown = Notes()
    scene.follower.workers = Workers(scene.settings)  # the dead letters have times of Redis' clock
    scene.then(*[later] * 1000)
    with pytest.raises(NoWorker, match=f"job {job}: {why}$"):
        scene.rows(job)
    assert {*notices} == {why}
    minutes = 1 + done
    assert minutes * HELD_BACK_SECONDS <= sum(scene.slept) <= minutes * HELD_BACK_SECONDS + 3 * SWEEP_EVERY


def test_a_batch_that_was_held_back_and_is_done_does_not_end_following(scene: Scene) -> None:
    job = scene.job(2)
    DeadLetters(scene.settings).add(held_back(job, 0), "the folder '/photos/' is gone")

    def later() -> None:
        scene.workers.announce(DIGITS)
        if scene.ledger.status(job).done == 0:
            scene.done(job, 0)
        elif sum(scene.slept) > 2 * HELD_BACK_SECONDS:
            scene.done(job, 1)

    scene.follower.workers = Workers(scene.settings)
    scene.then(*[later] * 1000)
    assert len(scene.rows(job)) == 2


class Submitter:
    """The submitter of a scene's job, whose heartbeats are steps of the scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.job = scene.job(1, close=False)
        scene.done(self.job, 0)

    def waits(self, seconds: float, heartbeat: bool = False) -> None:
        for _ in range(int(seconds / POLL_MOST)):
            self.scene.then((lambda: self.scene.ledger.note_submitter(self.job)) if heartbeat else nothing)


def test_following_an_open_job_ends_when_its_submitter_is_lost(scene: Scene) -> None:
    submitter = Submitter(scene)
    scene.workers = scene.follower.workers = EverWorking(scene.settings, now=scene.clock)
    submitter.waits(1000)
    start = scene.clock.now
    with pytest.raises(NoSubmitter) as error:
        scene.rows(submitter.job)
    assert GIVE_UP_AFTER <= scene.clock.now - start <= GIVE_UP_AFTER + 1
    job = submitter.job
    check_message(error.value, timestamp(start), f"`pigeonhole submit --job {job} in`", f"`pigeonhole cancel {job}`")
    start = scene.clock.now
    submitter.waits(1000)
    with pytest.raises(NoSubmitter):
        replace(scene.follower).end(job)
    assert SILENT_AFTER <= scene.clock.now - start <= SILENT_AFTER + 1, "the submitter was lost before"


class EverWorking(Workers):
    """Workers that are always announced."""

    def alive(self) -> list[Announcement]:
        return [DIGITS]


@pytest.mark.parametrize("what", ["slow source", "redis away", "both stopped", "clock stepped"])
def test_following_waits_for_a_submitter_that_is_alive(scene: Scene, what: str) -> None:
    submitter = Submitter(scene)
    scene.workers = scene.follower.workers = EverWorking(scene.settings, now=scene.clock)
    if what == "slow source":
        submitter.waits(300, heartbeat=True)
    elif what == "clock stepped":  # Redis' clock, not the follower's
        scene.ledger._now = lambda: scene.clock.now + (1000 if len(scene.slept) > 5 else 0)
        submitter.waits(SILENT_AFTER - 1)
        submitter.waits(300, heartbeat=True)
    else:

        def long_pause() -> None:
            scene.clock += 500

        scene.then(long_pause)
        submitter.waits(SILENT_AFTER - 1)
        submitter.waits(100, heartbeat=True)
    scene.then(lambda: scene.ledger.close(submitter.job, 1))
    assert scene.rows(submitter.job) == ["0.png"]
