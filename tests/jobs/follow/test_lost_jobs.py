"""Following a job that is unknown, cancelled, deleted, or that Redis has lost in part."""

from collections.abc import Callable

import pytest

from pigeonhole.errors import ExitCode, JobCancelled, JobDamaged, MessageInvalid, UnknownJob
from pigeonhole.jobs.follow import BATCHES_AT_ONCE, results
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import Client
from pigeonhole.ledger.status import JobStatus
from pigeonhole.settings import Settings
from tests.jobs.follow.scene import Scene, images
from tests.ledger.conftest import answers_for
from tests.messages import check_message


def test_a_cancelled_job_yields_the_rows_before_the_gap_and_then_raises_an_error(scene: Scene) -> None:
    job = scene.job(4)
    scene.done(job, 0, 1, 3)
    scene.then(lambda: scene.ledger.cancel(job))
    paths: list[str] = []
    rows = (row.path for rows in scene.follower.rows(job) for row in rows)
    with pytest.raises(JobCancelled) as error:
        paths.extend(rows)
    assert paths == ["0.png", "1.png"]
    check_message(error.value, f"job {job} was cancelled", f"`pigeonhole results {job}`")


def test_following_an_unknown_job_raises_an_error_at_once(scene: Scene) -> None:
    with pytest.raises(UnknownJob):
        scene.rows("no-such-job")
    with pytest.raises(UnknownJob):
        list(results(scene.ledger, "no-such-job"))


def test_following_a_job_that_is_deleted_meanwhile_raises_an_error(scene: Scene) -> None:
    job = scene.job(2)
    scene.then(lambda: scene.done(job, 0), lambda: scene.ledger.delete(job))
    with pytest.raises(UnknownJob):
        scene.rows(job)


class DeletedAfterStatus(Ledger):
    """A ledger that deletes a job right after its status was read for the n-th time."""

    def __init__(self, settings: Settings, reads: int) -> None:
        super().__init__(settings)
        self.reads = reads

    def status(self, job: str) -> JobStatus:
        status = super().status(job)
        self.reads -= 1
        if self.reads == 0:
            self.delete(job)
        return status


@pytest.mark.parametrize("reads", [1, 2, 3])
def test_a_finished_job_that_is_deleted_while_it_is_read_raises_an_error(scene: Scene, reads: int) -> None:
    job = scene.job(2 * BATCHES_AT_ONCE + 1)
    scene.done(job, *range(2 * BATCHES_AT_ONCE + 1))
    scene.follower.ledger = DeletedAfterStatus(scene.settings, reads)
    with pytest.raises(UnknownJob):
        scene.rows(job)


def test_results_of_a_job_that_is_deleted_while_they_are_read_raise_an_error(scene: Scene) -> None:
    job = scene.job(2)
    scene.done(job, 0, 1)
    rows = results(scene.ledger, job)
    assert [row.path for row in next(rows)] == ["0.png"]
    scene.ledger.delete(job)
    with pytest.raises(UnknownJob):
        next(rows)


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


def test_a_job_that_is_deleted_between_two_reads_of_a_batch_raises_an_error(scene: Scene) -> None:
    job = scene.job(1)
    scene.done(job, 0)
    scene.follower.ledger = DeletedBetweenRowsAndReferences(scene.settings)
    with pytest.raises(UnknownJob):
        scene.rows(job)


def test_a_lost_job_that_was_resubmitted_from_changed_sources_is_not_mixed_with_delivered_rows(
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
    check_message(error.value, f"job {job}", "batch 1", "`classify … -o FILE`")
    assert error.value.exit_code == ExitCode.FAILED


def test_a_finished_job_that_lacks_rows_raises_an_error(scene: Scene, raw: Client) -> None:
    job = scene.job(2)
    scene.done(job, 0, 1)
    raw.hdel(f"{scene.settings.prefix}:job:{job}:rows", "1")
    with pytest.raises(JobDamaged) as error:
        scene.rows(job)
    check_message(error.value, f"job {job}", "batch 1", f"`pigeonhole delete {job}`")
    assert error.value.exit_code == ExitCode.FAILED


class LosesCommitsBetweenTwoReads(Ledger):
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
def test_a_job_whose_last_commits_redis_loses_between_two_reads_is_not_reported_as_damaged(
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

    scene.follower.ledger = LosesCommitsBetweenTwoReads(scene, raw, before, again)
    assert scene.rows(job) == ["0.png", "1.png"]
