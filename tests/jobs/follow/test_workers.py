"""Following a job whose workers are missing, busy, or serve another model."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from pigeonhole.errors import NoWorker
from pigeonhole.jobs.follow import COUNT_EVERY, NO_WORKER_SECONDS, POLL_MOST, no_worker
from pigeonhole.ledger.sweep import SWEEP_EVERY
from pigeonhole.ledger.workers import Announcement
from tests.jobs.follow.scene import DIGITS, Scene, nothing
from tests.messages import check_message


def test_without_a_worker_following_ends_with_an_error_that_has_the_remedy(scene: Scene) -> None:
    job = scene.job(1)
    start = scene.clock.now
    scene.then(*[nothing] * 1000)
    with pytest.raises(NoWorker) as error:
        scene.rows(job)
    assert NO_WORKER_SECONDS <= scene.clock.now - start <= 15
    check_message(error.value, "'digits'", "`pigeonhole worker`", "`docker compose up -d --scale worker=2`")


def test_the_error_without_a_worker_names_the_models_that_other_workers_serve(scene: Scene) -> None:
    job = scene.job(1)
    announce = [lambda name=name: scene.workers.announce(replace(DIGITS, name=name, model=name)) for name in "ba"]
    scene.then(*announce * 500)
    with pytest.raises(NoWorker) as error:
        scene.rows(job)
    check_message(error.value, "'digits'", "`pigeonhole worker`")
    assert str(error.value).endswith(" a, b")


def test_following_waits_for_a_worker_that_is_busy(scene: Scene) -> None:
    job = scene.job(1)
    scene.then(*[lambda: scene.workers.announce(DIGITS)] * 400, lambda: scene.done(job, 0))
    assert scene.rows(job) == ["0.png"]
    assert sum(scene.slept) > 5 * NO_WORKER_SECONDS


def test_following_waits_for_a_worker_that_starts_late_or_returns(scene: Scene) -> None:
    job = scene.job(1)

    def wait(seconds: float) -> Callable[[], None]:
        def step() -> None:
            scene.clock += seconds

        return step

    after_a_silence: list[object] = []
    scene.then(
        wait(NO_WORKER_SECONDS - 1),
        lambda: scene.workers.announce(DIGITS),
        *[wait(SWEEP_EVERY)] * 3,  # present, present and gone
        lambda: after_a_silence.append(scene.workers.alive()),
        lambda: scene.workers.announce(DIGITS),
        wait(SWEEP_EVERY),
        lambda: scene.done(job, 0),
    )
    assert scene.rows(job) == ["0.png"]
    assert after_a_silence == [[]]


def test_the_time_of_a_slow_reader_does_not_count_as_time_without_a_worker(scene: Scene) -> None:
    job = scene.job(2)
    scene.done(job, 0)
    scene.then(nothing, lambda: scene.done(job, 1))
    for _ in scene.follower.rows(job):
        scene.clock += 10 * NO_WORKER_SECONDS  # the pipe was full
    assert scene.ledger.status(job).done == 2


def test_the_remedy_without_a_worker_has_the_commands_that_start_one(scene: Scene) -> None:
    problem, remedy = no_worker("letters", scene.workers)
    assert "'letters'" in problem
    check_message(
        remedy,
        "`pigeonhole worker --model letters.safetensors`",
        "`PIGEONHOLE_MODEL=/models/letters.safetensors docker compose up -d --scale worker=2`",
    )
    assert "`pigeonhole worker --model digits-int8`" in no_worker("digits-int8", scene.workers)[1]


def test_a_misspelt_model_gets_a_suggestion_from_the_models_that_workers_serve(scene: Scene) -> None:
    scene.workers.announce(replace(DIGITS, model="letters"))
    assert no_worker("leters", scene.workers)[1].endswith("letters (did you mean letters?)")


def test_waiting_for_a_model_ends_when_a_worker_serves_it(scene: Scene) -> None:
    scene.then(nothing, lambda: scene.workers.announce(replace(DIGITS, model="letters")))
    scene.follower.await_worker("letters")
    scene.then(*[nothing] * 100)
    start = scene.clock.now
    with pytest.raises(NoWorker, match="'leters'"):
        scene.follower.await_worker("leters")
    assert scene.clock.now - start >= NO_WORKER_SECONDS


def test_the_workers_are_reported_at_the_start_and_at_intervals(scene: Scene) -> None:
    reports: list[tuple[float, list[str]]] = []
    start = scene.clock.now
    scene.follower.on_workers = lambda workers: reports.append(
        (scene.clock.now - start, [worker.name for worker in workers])
    )
    scene.workers.announce(DIGITS)
    scene.workers.announce(Announcement(name="celery@other", model="letters", digest="d", version="1"))
    job = scene.job(1)
    scene.then(*[nothing] * 60, lambda: scene.done(job, 0))
    scene.rows(job)
    assert [names for _, names in reports] == [["celery@one"]] * len(reports)
    seconds = [second for second, _ in reports]
    assert seconds[0] == 0
    gaps = [after - before for before, after in itertools.pairwise(seconds)]
    assert len(gaps) == 3
    assert all(COUNT_EVERY <= gap <= COUNT_EVERY + POLL_MOST for gap in gaps)
