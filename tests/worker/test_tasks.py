"""The pipeline and the processor: rows in order, commits, leases, and isolation runs."""

import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.leases import UNTRIED
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.upkeep import Overdue
from pigeonhole.ledger.wire.messages import Answers, Batch, Group
from pigeonhole.limits import TOP
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.scores import Scores
from pigeonhole.settings import Settings
from pigeonhole.sources.members.archives import INSIDE, members
from pigeonhole.sources.source import identity_of
from tests.conftest import wait_for
from tests.packing import KINDS, pack
from worker.processing.isolation import IsolationRun, IsolationUnavailable
from worker.processing.pipeline import Pipeline
from worker.processing.processor import Processor


@pytest.fixture
def at_root(settings: Settings, root: Path) -> Settings:
    return replace(settings, image_root=str(root))


def job_with(ledger: Ledger, batch: Batch) -> tuple[str, Piece]:
    """Submit a job of one batch; return its id and the batch as a piece."""
    job = ledger.create("digits", ("samples",))
    piece = ledger.add(job, 0, batch)
    assert piece is not None
    ledger.close(job, 1)
    return job, piece


def test_every_reference_has_its_row_in_order_for_any_chunk_size(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch
) -> None:
    whole = list(Pipeline(at_root, classifier).classify(samples).rows(samples))
    assert [row.path for row in whole] == list(samples.shown())
    assert {row.path.removeprefix("samples/"): row.error.partition(":")[0] for row in whole if row.error} == {
        "empty.png": "empty",
        "text.png": "not-an-image",
        "92ce53-truncated.png": "truncated",
    }
    for chunk in (1, 7):
        small = Pipeline(replace(at_root, chunk=chunk), classifier).classify(samples)
        for row, other in zip(whole, small.rows(samples), strict=True):
            assert (row.path, row.label, row.error) == (other.path, other.label, other.error)
            assert row.confidence == pytest.approx(other.confidence, abs=1e-5)


@dataclass(frozen=True)
class RecordsSizes(Classifier):
    """A classifier that records the number of images of each call."""

    sizes: list[int] = field(default_factory=list)

    def predict(self, pixels: "np.ndarray", top: int = TOP) -> Scores:
        self.sizes.append(len(pixels))
        return super().predict(pixels, top)


def test_a_chunk_ends_where_its_decoded_images_take_too_much_memory(
    at_root: Settings, classifier: Classifier, samples: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Pipeline(at_root, classifier).classify(samples)
    recording = RecordsSizes(classifier.checkpoint, classifier.runtime)
    monkeypatch.setattr("worker.processing.pipeline._CHUNK_BYTES", 10 * 28 * 28 - 1)
    answers = Pipeline(at_root, recording).classify(samples)
    assert (answers.best, answers.errors) == (expected.best, expected.errors)
    assert {*recording.sizes[:-1]} == {10}
    assert sum(recording.sizes) == len(samples) - 3


def test_the_input_of_a_network_on_a_cpu_is_limited_in_bytes(
    at_root: Settings, classifier: Classifier, samples: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Pipeline(at_root, classifier).classify(samples)
    recording = RecordsSizes(classifier.checkpoint, classifier.runtime)
    monkeypatch.setattr("worker.processing.pipeline._INPUT_BYTES", 10 * 28 * 28)
    answers = Pipeline(at_root, recording).classify(samples)
    assert (answers.best, answers.errors) == (expected.best, expected.errors)
    assert max(recording.sizes) == 10
    assert sum(recording.sizes) == len(samples) - 3


def test_a_long_batch_is_committed_in_parts_that_any_worker_can_take(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Pipeline(at_root, classifier).classify(samples)
    monkeypatch.setattr("worker.processing.processor._SHARE", 0.0)
    job, piece = job_with(ledger, samples)
    processor = Processor(replace(at_root, chunk=100), classifier, ledger)
    done = []
    for queued in (1, 2, 2):  # no worker consumes the messages
        [piece] = ledger.pending(job)
        assert processor.work(job, piece)
        done.append(ledger.status(job).done)
        assert Queue(at_root).depth("digits") == queued
    assert done == [100, 200, len(samples)]
    assert ledger.status(job).state == "finished"
    [batch] = ledger.read(job, 0, 1)
    assert [row[:2] for row in batch.rows()] == [row[:2] for row in expected.rows(samples)]


def test_a_long_batch_that_was_lost_meanwhile_counts_once(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.processing.processor._SHARE", 0.0)
    job, piece = job_with(ledger, samples)
    processor = Processor(replace(at_root, chunk=100), classifier, ledger)
    divide = ledger.divide
    monkeypatch.setattr(ledger, "divide", lambda *args: (ledger.lose(job, piece, "digits"), divide(*args))[1])
    assert not processor.work(job, piece)
    while pieces := ledger.pending(job):
        processor.work(job, pieces[0])
    assert (ledger.status(job).state, ledger.status(job).done) == ("finished", len(samples))


@pytest.mark.parametrize("waits", [False, True])
def test_the_next_chunk_is_read_ahead_only_if_reading_waits(
    waits: bool, at_root: Settings, classifier: Classifier, samples: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Pipeline(at_root, classifier).classify(samples)
    monkeypatch.setattr(time, "thread_time", (lambda: 0.0) if waits else time.perf_counter)
    pipeline = Pipeline(replace(at_root, chunk=64), classifier)
    read, threads = pipeline._read_chunk, list[bool]()

    def recorded(references: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return read(references)

    monkeypatch.setattr(pipeline, "_read_chunk", recorded)
    assert pipeline.classify(samples).best == expected.best
    assert threads == [True] + [not waits] * 3


def test_a_batch_without_readable_images_has_its_error_rows(
    at_root: Settings, classifier: Classifier, ledger: Ledger
) -> None:
    batch = Batch((Group("file", "", "", ("gone.png", "samples")),))
    rows = list(Pipeline(at_root, classifier).classify(batch).rows(batch))
    assert [row.error.partition(":")[0] for row in rows] == ["missing", "not-a-file"]


def test_answers_have_the_identity_of_each_file_and_for_members_of_the_archive(
    at_root: Settings, classifier: Classifier, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 60 * 10**9)  # new files have no identity yet
    image = (root / "samples" / "003b50.png").read_bytes()
    groups = [Group("file", "", "", ("samples/003b50.png", "gone.png"))]
    for kind in KINDS:
        archive = pack(root / f"x.{kind}", [("a.png", image), ("b.png", image)])
        names, _, places = zip(*members(str(archive)), strict=True)
        paths = tuple([f"{INSIDE}{name}" for name in names])
        groups.append(Group(kind.removesuffix(".gz"), archive.name, archive.name, paths, places))
    answers = Pipeline(at_root, classifier).classify(Batch(tuple(groups)))
    assert {at: kind for at, (kind, _) in answers.errors.items()} == {1: "missing"}

    def number(name: str) -> int:
        return identity_of(os.stat(root / name))

    archives = [number(f"x.{kind}") for kind in KINDS]
    of_members = [archive for archive in archives for _ in range(2)]
    assert list(answers.identities) == [number("samples/003b50.png"), 0, *of_members]
    assert len({*answers.identities}) == 2 + len(KINDS)
    assert answers.runtime == "onnxruntime/f32"


def test_work_commits_once_and_finds_nothing_to_do_a_second_time(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch
) -> None:
    job, piece = job_with(ledger, samples)
    processor = Processor(at_root, classifier, ledger)
    assert processor.work(job, piece)
    assert not processor.work(job, piece)
    status = ledger.status(job)
    assert (status.state, status.done, status.errors) == ("finished", len(samples), 3)


def test_work_on_a_cancelled_or_unknown_job_does_nothing(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch
) -> None:
    job, piece = job_with(ledger, samples)
    ledger.cancel(job)
    processor = Processor(at_root, classifier, ledger)
    assert not processor.work(job, piece)
    assert not processor.work("20200101-000000-abcdef", piece)
    assert ledger.status(job).done == 0


def test_an_unreadable_batch_is_a_dead_letter_and_stays_pending(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    job, piece = job_with(ledger, samples)
    ledger.client.hset(f"{at_root.prefix}:job:{job}:refs", 0, b"not deflated")
    with caplog.at_level(logging.ERROR):
        assert not Processor(at_root, classifier, ledger).work(job, piece)
    (letter,) = DeadLetters(at_root).all()
    assert letter.what == f"job {job}, batch 0"
    assert "JSON" in letter.why
    assert letter.why in caplog.text
    assert ledger.status(job).batches_waiting == 1, "another version may be able to read it"


class LosesReplies(Ledger):
    """A ledger whose connection breaks twice after Redis has run the command."""

    faults = 2

    def commit(self, job: str, piece: Piece, answers: Answers) -> bool:
        done = super().commit(job, piece, answers)
        if self.faults:
            self.faults -= 1
            raise BrokerUnreachable("the connection broke before the reply")
        return done


def test_a_reply_lost_after_the_commit_counts_no_row_twice(
    at_root: Settings, classifier: Classifier, samples: Batch
) -> None:
    ledger = LosesReplies(at_root)
    job, piece = job_with(ledger, samples)
    Processor(at_root, classifier, ledger).work(job, piece)
    assert ledger.faults == 0
    status = ledger.status(job)
    assert (status.state, status.done) == ("finished", len(samples))


class Fails(Classifier):
    """A network that raises RuntimeError on chunks of more than two images, as torch does."""

    def predict(self, pixels: "np.ndarray", top: int = TOP) -> Scores:
        if len(pixels) > 2:
            raise RuntimeError("broken kernel")
        return super().predict(pixels, top)


def test_a_network_error_costs_only_its_chunk(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Fails(classifier.checkpoint, classifier.runtime)
    few = Batch((Group("file", "samples/", "samples/", samples.groups[0].paths[:5]),))
    with caplog.at_level(logging.ERROR):
        rows = list(Pipeline(replace(at_root, chunk=3), failing).classify(few).rows(few))
    for row in rows[:3]:
        assert row.error.startswith("internal: ")
        assert "RuntimeError: broken kernel" in row.error
    assert all(row.label for row in rows[3:])


def quarantine(ledger: Ledger, batch: Batch) -> tuple[str, Piece]:
    """Lose a process with the first image of a batch; return the job, and the image as a quarantined piece."""
    job, whole = job_with(ledger, Batch((Group("file", "samples/", "samples/", batch.groups[0].paths[:1]),)))
    ledger.claim(job, whole)
    (piece,) = ledger.lose(job, whole, "digits")
    return job, piece


def lose(ledger: Ledger, job: str, piece: Piece, times: int) -> None:
    for _ in range(times):
        ledger.claim(job, piece)
        ledger.lose(job, piece, "digits")


def test_an_image_that_was_lost_alone_twice_has_an_isolation_run_with_the_network(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks: list[bool] = []
    monkeypatch.setattr(IsolationRun, "verdict", lambda self, location, network: networks.append(network))
    for losses in range(4):
        job, piece = quarantine(ledger, samples)
        lose(ledger, job, piece, losses)
        assert ledger.losses(job, piece) == losses
        assert Processor(at_root, classifier, ledger).work(job, piece)
    assert networks == [False, False, True, True]


@pytest.fixture
def no_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace isolation runs by ones that fail to start."""

    def verdict(*_: object) -> None:
        raise IsolationUnavailable("no memory")

    monkeypatch.setattr(IsolationRun, "verdict", verdict)


@pytest.mark.usefixtures("no_isolation")
def test_a_quarantined_image_waits_without_a_loss_if_no_isolation_run_starts(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch
) -> None:
    job, piece = quarantine(ledger, samples)
    for _ in range(3):
        assert not Processor(at_root, classifier, ledger).work(job, piece)
        status = ledger.status(job)
        assert (status.batches_waiting, status.batches_claimed) == (1, 0)
        assert ledger.overdue(job, 1) == Overdue([], [], []), "it is not published again at once"
    assert ledger.losses(job, piece) == 0
    assert ledger.untried(job, piece) == ledger.status(job).untried == 3


@pytest.mark.usefixtures("no_isolation")
def test_a_quarantined_image_is_classified_after_enough_isolation_runs_failed_to_start(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch
) -> None:
    job, piece = quarantine(ledger, samples)
    processor = Processor(at_root, classifier, ledger)
    assert [processor.work(job, piece) for _ in range(UNTRIED + 1)] == [False] * UNTRIED + [True]
    assert ledger.status(job).done == 1
    assert ledger.status(job).untried == UNTRIED


@pytest.mark.usefixtures("no_isolation")
def test_a_quarantined_image_is_classified_if_no_isolation_run_with_the_network_starts(
    at_root: Settings, classifier: Classifier, ledger: Ledger, samples: Batch
) -> None:
    job, piece = quarantine(ledger, samples)
    lose(ledger, job, piece, 2)
    assert Processor(at_root, classifier, ledger).work(job, piece), "there may never be memory for two networks"
    assert ledger.status(job).errors == 0


class FailsToRenew(Ledger):
    """A ledger whose first renewal raises an unexpected error."""

    renewed = 0

    def renew(self, job: str, pieces: Iterable[Piece]) -> int:
        self.renewed += 1
        if self.renewed == 1:
            raise RuntimeError("unexpected")
        return super().renew(job, pieces)


def test_a_lease_is_renewed_again_after_an_unexpected_error(
    at_root: Settings, classifier: Classifier, samples: Batch, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("worker.processing.processor.LEASE", 0.04)
    ledger = FailsToRenew(at_root)
    job, piece = job_with(ledger, samples)
    with caplog.at_level(logging.WARNING), Processor(at_root, classifier, ledger)._holding(job, piece):
        wait_for(lambda: ledger.renewed > 1, "another renewal")
    for part in (f"job {job}: ", "batch 0", "unexpected"):
        assert part in caplog.text
