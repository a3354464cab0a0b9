"""Rows of a followed job: their order, their content, and when they come."""

import pytest

from pigeonhole.errors import BrokerUnreachable, JobCancelled, NoWorker
from pigeonhole.jobs.follow import BATCHES_AT_ONCE, POLL_MOST, results
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.row_options import RowOptions
from tests.jobs.follow.scene import Scene, images, nothing


def test_the_rows_of_a_finished_job_come_in_the_order_of_submission(scene: Scene) -> None:
    count = 3 * BATCHES_AT_ONCE + 1
    job = scene.job(count)
    scene.done(job, *reversed(range(count)))
    assert scene.rows(job) == [f"{number}.png" for number in range(count)]
    assert scene.slept == []
    assert scene.statuses[-1].state == "finished"


def test_a_row_has_the_path_labels_confidence_and_model_of_its_image(scene: Scene) -> None:
    job = scene.job(1)
    scene.done(job, 0)
    model = "digits@0123456789ab"
    assert list(scene.follower.rows(job)) == [[Row("0.png", "1", 0.9, False, "", model, (("1", 0.9), ("0", 0.1)))]]


def test_the_review_threshold_of_the_user_marks_rows_for_review(scene: Scene) -> None:
    job = scene.job(1)
    scene.done(job, 0)
    for below, marked in ((0.9, False), (0.91, True)):
        scene.follower.options = options = RowOptions(below)
        for read in (scene.follower.rows(job), results(scene.ledger, job, options)):
            assert [row.review for rows in read for row in rows] == [marked]


def test_rows_of_later_batches_wait_for_the_batch_before_them(scene: Scene) -> None:
    job = scene.job(4)
    events: list[str] = []
    scene.done(job, 1, 3)

    def finish(number: int) -> None:
        scene.done(job, number)
        events.append(f"{number} is done")

    scene.then(lambda: finish(0), lambda: finish(2))
    for rows in scene.follower.rows(job):
        events.extend(row.path for row in rows)
    assert events == ["0 is done", "0.png", "1.png", "2 is done", "2.png", "3.png"]


def test_an_open_job_can_be_followed_while_it_is_submitted(scene: Scene) -> None:
    job = scene.job(1, close=False)
    scene.then(
        lambda: scene.done(job, 0),
        lambda: scene.ledger.add(job, 1, images(1)),
        lambda: scene.ledger.close(job, 2),
        lambda: scene.done(job, 1),
    )
    assert scene.rows(job) == ["0.png", "1.png"]
    assert [status.state for status in scene.statuses][-1] == "finished"


def test_a_job_without_images_ends_at_once(scene: Scene) -> None:
    assert scene.rows(scene.job(0)) == []


def test_pauses_between_polls_grow_and_are_short_again_after_new_rows(scene: Scene) -> None:
    job = scene.job(2)
    scene.then(*[nothing] * 40, lambda: scene.done(job, 0), lambda: scene.done(job, 1))
    scene.rows(job)
    before, after = scene.slept[:41], scene.slept[41]
    assert before == sorted(before)
    assert before[-1] == POLL_MOST
    assert after == before[0]


def test_an_error_of_the_check_ends_following(scene: Scene) -> None:
    job = scene.job(1)

    def check() -> None:
        if len(scene.slept) == 3:
            raise BrokerUnreachable("gone")

    scene.follower.check = check
    scene.then(*[nothing] * 10)
    with pytest.raises(BrokerUnreachable, match=r"^gone$"):
        scene.rows(job)
    assert len(scene.slept) == 3


def test_batches_that_were_delivered_before_are_not_delivered_again(scene: Scene) -> None:
    job = scene.job(3)
    scene.done(job, 0, 1, 2)
    delivered = [images(0).digest, images(1).digest]
    assert [batch.number for batch in scene.follower.batches(job, delivered)] == [2]


def test_results_have_the_rows_of_all_finished_batches_despite_gaps(scene: Scene) -> None:
    job = scene.job(5)
    scene.done(job, 4, 0, 2)
    assert [row.path for rows in results(scene.ledger, job) for row in rows] == ["0.png", "2.png", "4.png"]
    scene.ledger.cancel(job)
    assert [row.path for rows in results(scene.ledger, job) for row in rows] == ["0.png", "2.png", "4.png"]


def test_waiting_for_the_end_of_a_job_reads_no_rows(scene: Scene) -> None:
    job = scene.job(2)
    scene.then(lambda: scene.done(job, 1), nothing, lambda: scene.done(job, 0))
    status = scene.follower.end(job)
    assert (status.state, status.done) == ("finished", 2)
    assert [status.done for status in scene.statuses] == [0, 1, 1, 2]


def test_waiting_for_the_end_of_a_job_raises_the_errors_of_following(scene: Scene) -> None:
    job = scene.job(1)
    scene.then(*[nothing] * 1000)
    with pytest.raises(NoWorker):
        scene.follower.end(job)
    scene.then(lambda: scene.ledger.cancel(job))
    scene.steps = scene.steps[-1:]
    with pytest.raises(JobCancelled):
        scene.follower.end(job)
