"""Following a job on a real Redis; tests do the work of others in the sleep between two polls."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pigeonhole.errors import (
    BrokerUnreachable,
    ExitCode,
    JobCancelled,
    JobDamaged,
    MessageInvalid,
    NoSubmitter,
    NoWorker,
    UnknownJob,
)
from pigeonhole.jobs.follow import (
    BATCHES_AT_ONCE,
    COUNT_EVERY,
    HELD_BACK_SECONDS,
    NO_WORKER_SECONDS,
    POLL_MOST,
    Follower,
    no_worker,
    results,
)
from pigeonhole.jobs.retrying import Silent
from pigeonhole.jobs.submitter import GIVE_UP_AFTER
from pigeonhole.ledger.dead_letters import DeadLetters, about, held_back
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.status import SILENT_AFTER, JobStatus
from pigeonhole.ledger.sweep import SWEEP_EVERY
from pigeonhole.ledger.wire.messages import Batch, Row
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.row_options import RowOptions
from pigeonhole.settings import Settings
from pigeonhole.text import timestamp
from tests.ledger.conftest import Clock, answers_for, batch_of, piece

DIGITS = Announcement(name="celery@one", model="digits", digest="d", version="1")


def images(number: int) -> Batch:
    """Return the batch with this number in each test job: one image."""
    return batch_of(f"{number}.png")


def nth(number: int) -> Piece:
    return piece(images(number), number)


class Scene:
    """A job of batches with one image each, its follower, and the steps that happen while that sleeps."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.ledger, self.workers = Ledger(settings, now=clock), Workers(settings, now=clock)
        self.queue = Queue(settings)
        self.steps: list[Callable[[], object]] = []
        self.seen: list[JobStatus] = []
        self.slept: list[float] = []
        self.follower = Follower(
            self.ledger, self.queue, self.workers, self.seen.append, clock=clock, sleep=self._sleep
        )

    def job(self, batches: int, close: bool = True) -> str:
        job = self.ledger.create("digits", ("in",))
        for number in range(batches):
            self.ledger.add(job, number, images(number))
        if close:
            self.ledger.close(job, len(self.ledger.pending(job)))
        return job

    def done(self, job: str, *numbers: int) -> None:
        for number in numbers:
            assert self.ledger.commit(job, nth(number), answers_for(images(number)))

    def done_once_published(self, job: str) -> None:
        """Answer both batches of a job as a worker, once their messages are published."""
        self.workers.announce(DIGITS)
        if self.queue.depth("digits") == 2:
            self.done(job, 0, 1)

    def then(self, *steps: Callable[[], object]) -> None:
        self.steps.extend(steps)

    def rows(self, job: str) -> list[str]:
        return [row.path for rows in self.follower.rows(job) for row in rows]

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock += seconds
        assert self.steps, "it sleeps, and nothing will ever happen"
        self.steps.pop(0)()


@pytest.fixture
def scene(settings: Settings, clock: Clock) -> Iterator[Scene]:
    made = Scene(settings, clock)
    yield made
    for one in (made.ledger, made.follower.ledger, made.workers):  # the parts of a scene refer to each other
        one.client.close()


def nothing() -> None:
    pass


def test_the_rows_of_a_finished_job_come_in_the_order_of_submission(scene: Scene) -> None:
    count = 3 * BATCHES_AT_ONCE + 1
    job = scene.job(count)
    scene.done(job, *reversed(range(count)))
    assert scene.rows(job) == [f"{number}.png" for number in range(count)]
    assert scene.slept == []
    assert scene.seen[-1].state == "finished"


def test_a_row_has_all_that_is_known_of_its_image(scene: Scene) -> None:
    job = scene.job(1)
    scene.done(job, 0)
    model = "digits@0123456789ab"
    assert list(scene.follower.rows(job)) == [[Row("0.png", "1", 0.9, False, "", model, (("1", 0.9), ("0", 0.1)))]]


def test_a_threshold_of_the_users_decides_what_is_to_review(scene: Scene) -> None:
    job = scene.job(1)
    scene.done(job, 0)
    for below, marked in ((0.9, False), (0.91, True)):
        scene.follower.options = options = RowOptions(below)
        for given in (scene.follower.rows(job), results(scene.ledger, job, options)):
            assert [row.review for rows in given for row in rows] == [marked]


def test_later_batches_wait_in_the_ledger_for_the_one_before_them(scene: Scene) -> None:
    job = scene.job(4)
    came: list[str] = []
    scene.done(job, 1, 3)

    def finish(number: int) -> None:
        scene.done(job, number)
        came.append(f"{number} is done")

    scene.then(lambda: finish(0), lambda: finish(2))
    for rows in scene.follower.rows(job):
        came.extend(row.path for row in rows)
    assert came == ["0 is done", "0.png", "1.png", "2 is done", "2.png", "3.png"]


def test_an_open_job_is_followed_while_it_is_submitted(scene: Scene) -> None:
    job = scene.job(1, close=False)
    scene.then(
        lambda: scene.done(job, 0),
        lambda: scene.ledger.add(job, 1, images(1)),
        lambda: scene.ledger.close(job, 2),
        lambda: scene.done(job, 1),
    )
    assert scene.rows(job) == ["0.png", "1.png"]
    assert [status.state for status in scene.seen][-1] == "finished"


def test_a_job_without_images_ends_at_once(scene: Scene) -> None:
    assert scene.rows(scene.job(0)) == []


def test_the_pauses_grow_and_are_short_again_after_something_came(scene: Scene) -> None:
    job = scene.job(2)
    scene.then(*[nothing] * 40, lambda: scene.done(job, 0), lambda: scene.done(job, 1))
    scene.rows(job)
    before, after = scene.slept[:41], scene.slept[41]
    assert before == sorted(before)
    assert before[-1] == POLL_MOST
    assert after == before[0]


def test_a_cancelled_job_gives_the_rows_before_the_gap_and_says_so(scene: Scene) -> None:
    job = scene.job(4)
    scene.done(job, 0, 1, 3)
    scene.then(lambda: scene.ledger.cancel(job))
    given: list[str] = []
    rows = (row.path for rows in scene.follower.rows(job) for row in rows)
    with pytest.raises(JobCancelled) as cancelled:
        given.extend(rows)
    assert given == ["0.png", "1.png"]
    assert str(cancelled.value) == (
        f"job {job} was cancelled; `pigeonhole results {job}` has the rows finished before that"
    )


def test_without_a_worker_following_ends_after_a_while_with_what_to_do(scene: Scene) -> None:
    job = scene.job(1)
    start = scene.clock.now
    scene.then(*[nothing] * 1000)
    with pytest.raises(NoWorker) as nobody:
        scene.rows(job)
    assert NO_WORKER_SECONDS <= scene.clock.now - start <= 15
    assert str(nobody.value) == (
        "no worker serves the model 'digits'; start one: `pigeonhole worker`, or `docker compose up -d --scale "
        "worker=2`"
    )


def test_a_worker_of_another_model_is_no_help_but_a_hint(scene: Scene) -> None:
    job = scene.job(1)
    announce = [lambda name=name: scene.workers.announce(replace(DIGITS, name=name, model=name)) for name in "ba"]
    scene.then(*announce * 500)
    with pytest.raises(NoWorker) as nobody:
        scene.rows(job)
    assert str(nobody.value) == (
        "no worker serves the model 'digits'; start one: `pigeonhole worker`, or `docker compose up -d --scale "
        "worker=2`. Workers are there for a, b"
    )


def test_a_worker_that_is_busy_with_something_long_is_waited_for(scene: Scene) -> None:
    job = scene.job(1)
    scene.then(*[lambda: scene.workers.announce(DIGITS)] * 400, lambda: scene.done(job, 0))
    assert scene.rows(job) == ["0.png"]
    assert sum(scene.slept) > 5 * NO_WORKER_SECONDS


def test_a_worker_that_comes_in_time_or_again_is_enough(scene: Scene) -> None:
    job = scene.job(1)

    def wait(seconds: float) -> Callable[[], None]:
        def step() -> None:
            scene.clock += seconds

        return step

    came_and_went: list[object] = []
    scene.then(
        wait(NO_WORKER_SECONDS - 1),
        lambda: scene.workers.announce(DIGITS),
        *[wait(SWEEP_EVERY)] * 3,  # present, present and gone
        lambda: came_and_went.append(scene.workers.alive()),
        lambda: scene.workers.announce(DIGITS),
        wait(SWEEP_EVERY),
        lambda: scene.done(job, 0),
    )
    assert scene.rows(job) == ["0.png"]
    assert came_and_went == [[]]


def test_whoever_reads_slowly_does_not_lose_patience_with_the_workers_for_that(scene: Scene) -> None:
    job = scene.job(2)
    scene.done(job, 0)
    scene.then(nothing, lambda: scene.done(job, 1))
    for _ in scene.follower.rows(job):
        scene.clock += 10 * NO_WORKER_SECONDS  # the pipe was full
    assert scene.ledger.status(job).done == 2


def test_what_a_check_raises_ends_the_following(scene: Scene) -> None:
    job = scene.job(1)

    def check() -> None:
        if len(scene.slept) == 3:
            raise BrokerUnreachable("the embedded Redis is gone")

    scene.follower.check = check
    scene.then(*[nothing] * 10)
    with pytest.raises(BrokerUnreachable, match=r"^the embedded Redis is gone$"):
        scene.rows(job)
    assert len(scene.slept) == 3


def test_what_was_lost_is_published_again_while_somebody_waits(scene: Scene) -> None:
    job = scene.job(2)  # nobody published it

    scene.then(*[lambda: scene.done_once_published(job)] * 500)
    assert scene.rows(job) == ["0.png", "1.png"]
    assert scene.settings.publish_seconds <= sum(scene.slept) <= scene.settings.publish_seconds + 2 * SWEEP_EVERY


@pytest.mark.parametrize("kind", ["gone", "of another type"])
def test_a_followed_job_that_redis_lost_from_its_lists_is_swept_again(scene: Scene, raw: Client, kind: str) -> None:
    job = scene.job(2)  # nobody published it
    for name in ("active", "jobs"):
        raw.delete(f"{scene.settings.prefix}:{name}")
        if kind == "of another type":
            raw.set(f"{scene.settings.prefix}:{name}", "x")

    scene.then(*[lambda: scene.done_once_published(job)] * 500)
    assert scene.rows(job) == ["0.png", "1.png"]
    assert sum(scene.slept) <= scene.settings.publish_seconds + 3 * SWEEP_EVERY


def test_where_workers_understand_nothing_of_what_is_left_following_ends_with_their_reason(scene: Scene) -> None:
    job = scene.job(2)
    letters = DeadLetters(scene.settings)

    def later() -> None:
        scene.workers.announce(DIGITS)
        if scene.ledger.status(job).done == 0:
            letters.add(about(job, 1), "a batch in the ledger has version 9")
            scene.done(job, 0)

    scene.follower.workers = Workers(scene.settings)  # the letters' times are of Redis' own clock
    scene.then(*[later] * 500)
    said = f"^the workers can't read the remaining batches of job {job}: a batch in the ledger has version 9$"
    with pytest.raises(MessageInvalid, match=said):
        scene.rows(job)
    assert scene.ledger.pending(job) == [nth(1)], "it is pending still: a worker of that version may come"


def test_letters_about_what_is_done_since_or_about_nothing_do_not_end_following(scene: Scene) -> None:
    job = scene.job(3)
    letters = DeadLetters(scene.settings)

    def later() -> None:
        scene.workers.announce(DIGITS)
        if scene.ledger.status(job).done == 0:
            letters.add(about(job, 0), "a batch in the ledger has version 9")  # the message of an outdated worker
            letters.add(about(job, "garbage"), "no piece is called so")  # anyone may send this
            scene.done(job, 0)
        elif sum(scene.slept) > 60:
            scene.done(job, 1, 2)

    scene.follower.workers = Workers(scene.settings)  # the letters' times are of Redis' own clock
    scene.then(*[later] * 500)
    assert len(scene.rows(job)) == 3


@pytest.mark.parametrize("done", [0, 1])
def test_batches_that_are_held_back_for_a_minute_end_following_unless_others_are_done(scene: Scene, done: int) -> None:
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
    scene.follower.workers = Workers(scene.settings)  # the letters' times are of Redis' own clock
    scene.then(*[later] * 1000)
    with pytest.raises(
        NoWorker, match=rf"^no worker can read the remaining images of job {job}: the folder '/photos/' is gone"
    ):
        scene.rows(job)
    assert {*notices} == {why}
    minutes = 1 + done
    assert minutes * HELD_BACK_SECONDS <= sum(scene.slept) <= minutes * HELD_BACK_SECONDS + 3 * SWEEP_EVERY


def test_a_batch_that_was_held_back_and_is_done_since_is_not_waited_for(scene: Scene) -> None:
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


def test_an_unknown_job_is_told_at_once(scene: Scene) -> None:
    with pytest.raises(UnknownJob):
        scene.rows("no-such-job")
    with pytest.raises(UnknownJob):
        list(results(scene.ledger, "no-such-job"))


def test_a_job_that_is_deleted_while_it_is_followed_is_told(scene: Scene) -> None:
    job = scene.job(2)
    scene.then(lambda: scene.done(job, 0), lambda: scene.ledger.delete(job))
    with pytest.raises(UnknownJob):
        scene.rows(job)


class DeletedAfterStatus(Ledger):
    """A ledger that deletes a job right after its status was read for the n-th time."""

    def __init__(self, settings: Settings, looks: int) -> None:
        super().__init__(settings)
        self.looks = looks

    def status(self, job: str) -> JobStatus:
        status = super().status(job)
        self.looks -= 1
        if self.looks == 0:
            self.delete(job)
        return status


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_finished_job_that_is_deleted_while_it_is_read_does_not_look_complete(scene: Scene, looks: int) -> None:
    job = scene.job(2 * BATCHES_AT_ONCE + 1)
    scene.done(job, *range(2 * BATCHES_AT_ONCE + 1))
    scene.follower.ledger = DeletedAfterStatus(scene.settings, looks)
    with pytest.raises(UnknownJob):
        scene.rows(job)


def test_results_of_a_job_that_is_deleted_while_they_are_read_do_not_look_complete(scene: Scene) -> None:
    job = scene.job(2)
    scene.done(job, 0, 1)
    given = results(scene.ledger, job)
    assert [row.path for row in next(given)] == ["0.png"]
    scene.ledger.delete(job)
    with pytest.raises(UnknownJob):
        next(given)


class DeletedBetweenRowsAndReferences(Ledger):
    """A ledger that deletes a job between its two reads of a batch."""

    def read(self, job: str, start: int, limit: int) -> list[list[tuple[object, object]]]:  # type: ignore[override]
        hmget = self.client.hmget

        def then_delete(*args: object) -> object:
            found = hmget(*args)
            self.client.hmget = hmget
            self.delete(job)
            return found

        self.client.hmget = then_delete
        return super().read(job, start, limit)  # type: ignore[return-value]


def test_a_job_that_is_deleted_between_two_looks_at_a_batch_is_unknown(scene: Scene) -> None:
    job = scene.job(1)
    scene.done(job, 0)
    scene.follower.ledger = DeletedBetweenRowsAndReferences(scene.settings)
    with pytest.raises(UnknownJob):
        scene.rows(job)


def test_what_was_delivered_before_is_not_given_again(scene: Scene) -> None:
    job = scene.job(3)
    scene.done(job, 0, 1, 2)
    delivered = [images(0).digest, images(1).digest]
    assert [batch.number for batch in scene.follower.batches(job, delivered)] == [2]


def test_a_job_that_redis_forgot_and_that_was_cut_otherwise_since_is_not_mixed_with_what_was_delivered(
    scene: Scene, raw: Client
) -> None:
    """The second batch was delivered, then lost, and submitted again from a changed folder."""
    job = scene.job(3)
    scene.done(job, 0, 1)

    def forgotten() -> None:
        for part in ("refs", "rows", "digests"):
            raw.hdel(f"{scene.settings.prefix}:job:{job}:{part}", "1")
        raw.hset(f"{scene.settings.prefix}:job:{job}", "state", "open")
        other = scene.ledger.add(job, 1, images(7))
        assert other is not None
        scene.ledger.close(job, 4)
        scene.ledger.commit(job, other, answers_for(images(7)))
        scene.done(job, 2)
        raw.hset(f"{scene.settings.prefix}:job:{job}", mapping={"state": "finished", "batches": "3"})

    scene.then(forgotten)
    with pytest.raises(MessageInvalid) as error:
        scene.rows(job)
    assert str(error.value) == (
        f"job {job} has other images in batch 1 than when its rows were read: Redis lost a part of the job, "
        "and it was submitted again from changed sources. Submit a new job, or run the same `classify … -o FILE` "
        "again"
    )
    assert error.value.exit_code == 1


def test_a_finished_job_without_all_its_rows_is_told_of(scene: Scene, raw: Client) -> None:
    job = scene.job(2)
    scene.done(job, 0, 1)
    raw.hdel(f"{scene.settings.prefix}:job:{job}:rows", "1")
    with pytest.raises(JobDamaged) as damaged:
        scene.rows(job)
    assert str(damaged.value) == (
        f"job {job} is finished, but Redis has lost the rows of batch 1: `pigeonhole delete {job}`, then submit its "
        "images again"
    )
    assert damaged.value.exit_code == ExitCode.FAILED


class ForgetsBetweenTwoLooks(Ledger):
    """A ledger whose Redis loses the last commits once, right after a status has shown that the job is finished.

    Args:
        raw: a client of the Redis.
        keys: the content that the Redis then has.
        again: repeats the commits, right after the rows were read.
    """

    def __init__(self, scene: Scene, raw: Client, keys: dict[bytes, bytes], again: Callable[[], object]) -> None:
        super().__init__(scene.settings, now=scene.clock)
        self.raw, self.keys, self.again = raw, keys, [again]

    def status(self, job: str) -> JobStatus:
        status = super().status(job)
        if status.over and self.keys:
            self.raw.delete(*self.raw.scan_iter(f"{self.settings.prefix}:*"))
            for key in list(self.keys):
                self.raw.restore(key, 0, self.keys.pop(key))
        return status

    def read(self, job: str, start: int, limit: int) -> list[DoneBatch]:
        rows = super().read(job, start, limit)
        if not self.keys and self.again:
            self.again.pop()()
        return rows


@pytest.mark.parametrize("redone", [False, True], ids=["pending again", "finished again since"])
def test_a_sound_job_of_which_redis_forgets_the_last_commits_between_two_looks_is_not_called_damaged(
    scene: Scene, raw: Client, redone: bool
) -> None:
    job = scene.job(2)
    scene.done(job, 0)
    before = {key: raw.dump(key) for key in raw.scan_iter(f"{scene.settings.prefix}:*")}
    scene.then(lambda: scene.done(job, 1))  # once the first batch was yielded

    def again() -> None:
        scene.clock += 1
        if redone:
            scene.done(job, 1)
        else:
            scene.then(lambda: scene.done(job, 1))

    scene.follower.ledger = ForgetsBetweenTwoLooks(scene, raw, before, again)
    assert scene.rows(job) == ["0.png", "1.png"]


class Submitter:
    """The submitter of a scene's job, whose heartbeats are steps of the scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.job = scene.job(1, close=False)
        scene.done(self.job, 0)

    def waits(self, seconds: float, heartbeat: bool = False) -> None:
        for _ in range(int(seconds / POLL_MOST)):
            self.scene.then((lambda: self.scene.ledger.note_submitter(self.job)) if heartbeat else nothing)


def test_following_an_open_job_ends_when_nobody_submits_to_it_any_more(scene: Scene) -> None:
    submitter = Submitter(scene)
    scene.workers = scene.follower.workers = EverWorking(scene.settings, now=scene.clock)
    submitter.waits(1000)
    start = scene.clock.now
    with pytest.raises(NoSubmitter) as gone:
        scene.rows(submitter.job)
    assert GIVE_UP_AFTER <= scene.clock.now - start <= GIVE_UP_AFTER + 1
    job = submitter.job
    assert str(gone.value) == (
        f"the submission of job {job} was cut off at {timestamp(start)}. Submit the rest: `pigeonhole submit --job "
        f"{job} in`, or cancel the job: `pigeonhole cancel {job}`"
    )
    start = scene.clock.now
    submitter.waits(1000)
    with pytest.raises(NoSubmitter):
        replace(scene.follower).end(job)
    assert SILENT_AFTER <= scene.clock.now - start <= SILENT_AFTER + 1, "it was gone before"


class EverWorking(Workers):
    """Workers that are always announced."""

    def alive(self) -> list[Announcement]:
        return [DIGITS]


@pytest.mark.parametrize("what", ["slow source", "redis away", "both stopped", "clock stepped"])
def test_a_submitter_that_is_there_is_waited_for(scene: Scene, what: str) -> None:
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


def test_results_are_what_is_there_whatever_is_missing_between(scene: Scene) -> None:
    job = scene.job(5)
    scene.done(job, 4, 0, 2)
    assert [row.path for rows in results(scene.ledger, job) for row in rows] == ["0.png", "2.png", "4.png"]
    scene.ledger.cancel(job)
    assert [row.path for rows in results(scene.ledger, job) for row in rows] == ["0.png", "2.png", "4.png"]


def test_without_any_worker_what_to_do_is_said(scene: Scene) -> None:
    assert no_worker("letters", scene.workers) == (
        "no worker serves the model 'letters'; start one: `pigeonhole worker --model letters.safetensors`, or "
        "`PIGEONHOLE_MODEL=/models/letters.safetensors docker compose up -d --scale worker=2`"
    )
    assert "`pigeonhole worker --model digits-int8`" in no_worker("digits-int8", scene.workers)


def test_a_misspelt_model_is_told_from_those_that_workers_serve(scene: Scene) -> None:
    scene.workers.announce(replace(DIGITS, model="letters"))
    assert no_worker("leters", scene.workers).endswith("Workers are there for letters (did you mean letters?)")


def test_a_model_is_waited_for_until_a_worker_serves_it(scene: Scene) -> None:
    scene.then(nothing, lambda: scene.workers.announce(replace(DIGITS, model="letters")))
    scene.follower.await_worker("letters")
    scene.then(*[nothing] * 100)
    start = scene.clock.now
    with pytest.raises(NoWorker, match="no worker serves the model 'leters'"):
        scene.follower.await_worker("leters")
    assert scene.clock.now - start >= NO_WORKER_SECONDS


def test_a_jobs_end_is_waited_for_without_its_rows(scene: Scene) -> None:
    job = scene.job(2)
    scene.then(lambda: scene.done(job, 1), nothing, lambda: scene.done(job, 0))
    status = scene.follower.end(job)
    assert (status.state, status.done) == ("finished", 2)
    assert [seen.done for seen in scene.seen] == [0, 1, 1, 2]


def test_waiting_for_an_end_ends_as_following_does(scene: Scene) -> None:
    job = scene.job(1)
    scene.then(*[nothing] * 1000)
    with pytest.raises(NoWorker):
        scene.follower.end(job)
    scene.then(lambda: scene.ledger.cancel(job))
    scene.steps = scene.steps[-1:]
    with pytest.raises(JobCancelled):
        scene.follower.end(job)


def test_who_is_at_work_is_told_at_first_and_then_now_and_then(scene: Scene) -> None:
    told: list[tuple[float, list[str]]] = []
    start = scene.clock.now
    scene.follower.on_workers = lambda workers: told.append(
        (scene.clock.now - start, [worker.name for worker in workers])
    )
    scene.workers.announce(DIGITS)
    scene.workers.announce(Announcement(name="celery@other", model="letters", digest="d", version="1"))
    job = scene.job(1)
    scene.then(*[nothing] * 60, lambda: scene.done(job, 0))
    scene.rows(job)
    assert [names for _, names in told] == [["celery@one"]] * len(told)
    seconds = [second for second, _ in told]
    assert seconds[0] == 0
    gaps = [after - before for before, after in itertools.pairwise(seconds)]
    assert len(gaps) == 3
    assert all(COUNT_EVERY <= gap <= COUNT_EVERY + POLL_MOST for gap in gaps)
