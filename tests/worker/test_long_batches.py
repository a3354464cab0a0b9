"""A batch of slow files, with an injected clock: no chunk uses all of its time, and no part is a single image."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Location
from pigeonhole.sources.source import Opened
from tests.ledger.conftest import Clock
from worker.processing.pipeline import Pipeline

NAMES = ("003b50.png", "00c5e3.png", "007313.png", "empty.png", "0580e7.png", "0d5f5e.png")


@pytest.fixture
def at_root(settings: Settings, root: Path) -> Settings:
    return replace(settings, image_root=str(root), batch_seconds=30)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Inject a clock into the worker; reading counts as processor time, so that no chunk is read ahead."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "thread_time", time.perf_counter)
    return clock


def chunks_of(settings: Settings, classifier: Classifier, clock: Clock, *seconds: float, names: int = 6) -> list[int]:
    """Return the number of images in each chunk of a batch.

    Args:
        settings: The settings of the worker.
        classifier: The classifier.
        clock: The injected clock.
        seconds: The seconds that each image takes; the last value holds for all further images.
        names: The number of images in the batch.
    """
    pipeline, waits = Pipeline(settings, classifier), list(seconds)
    read, read_chunk, sizes = pipeline.reader.read, pipeline._read_chunk, list[int]()

    def slow(location: Location) -> Opened:
        nonlocal clock
        clock += waits.pop(0) if len(waits) > 1 else waits[0]
        return read(location)

    def noted(references: object) -> object:
        chunk = read_chunk(references)  # type: ignore[arg-type]
        sizes.append(len(chunk))
        return chunk

    object.__setattr__(pipeline.reader, "read", slow)
    object.__setattr__(pipeline, "_read_chunk", noted)
    batch = Batch((Group("file", "", "samples/", NAMES[:names]),))
    assert len(pipeline.classify(batch, 3.0)) == sum(sizes)
    return sizes


def test_a_chunk_of_slow_images_ends_after_a_tenth_of_the_batch_seconds(
    at_root: Settings, classifier: Classifier, clock: Clock
) -> None:
    assert chunks_of(at_root, classifier, clock, 0.1) == [6]
    assert chunks_of(at_root, classifier, clock, 1.0) == [4, 2], "a short rest is not split off"


def test_a_slow_first_image_does_not_end_its_chunk(at_root: Settings, classifier: Classifier, clock: Clock) -> None:
    assert chunks_of(at_root, classifier, clock, 25.0, 0.1) == [6]


@pytest.mark.parametrize(
    ("names", "sizes"), [(1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2]), (5, [2, 2, 1]), (6, [2, 2])]
)
def test_no_part_of_a_batch_is_a_single_image(
    at_root: Settings, classifier: Classifier, clock: Clock, names: int, sizes: list[int]
) -> None:
    assert chunks_of(at_root, classifier, clock, 5.0, names=names) == sizes
    clock += 100.0
    assert chunks_of(replace(at_root, chunk=1), classifier, clock, 5.0, names=3) == [1, 1, 1]
