"""A source is added with one class and one line; a toy source is tested from the argument SOURCE to the rows."""

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image

from pigeonhole.errors import SourceError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.submit import submit
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources import registry
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Identity, Location, Reference, Root
from pigeonhole.sources.source import Opened, Source
from tests.worker.conftest import SAMPLES
from worker.processing.processor import Processor


class Checkerboards(Source):
    """`checker:5` names five images, drawn when they are opened; the place of each is the side of its squares."""

    scheme = "checker"

    def list(self, argument: str) -> Iterator[Reference]:
        """Yield the references to the number of checkerboards in the SOURCE."""
        _, _, count = argument.partition(":")
        if not count.isdecimal():
            raise SourceError(f"{argument!r}: {count!r} is not a number of checkerboards")
        for number in range(int(count)):
            yield Reference(self.scheme, f"{argument}/", "", f"{number}.png", (number + 1,))

    def open(self, location: Location) -> Opened:
        """Draw one checkerboard; its identity is that of its squares, since there is no file."""
        (side,) = location.place
        image = Image.new("L", (28, 28))
        image.putdata([255 * ((x // side + y // side) % 2) for y in range(28) for x in range(28)])
        file = io.BytesIO()
        image.save(file, "PNG")
        return Opened(file.getvalue(), identity=side)

    def identity(self, location: Location) -> Identity:
        """Return the same identity as `open`, since a drawing never changes."""
        return location.place[0]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy source."""
    monkeypatch.setattr(registry, "SOURCES", [*registry.SOURCES, Checkerboards])


def submitted(settings: Settings, ledger: Ledger, *sources: str) -> str:
    """Submit sources as the producer does; return the job's id."""
    job = ledger.create("digits", sources)
    submit(ledger, Queue(settings), job, expand([*sources], Root(settings.image_root)), Retrying())
    return job


def rows(settings: Settings, ledger: Ledger, classifier: Classifier, job: str) -> list[Row]:
    """Process a job as a worker does; return its rows as the producer reads them."""
    processor = Processor(settings, classifier, ledger)
    for piece in ledger.pending(job):
        assert processor.work(job, piece)
    return list(chain.from_iterable(Connection(settings, Retrying()).follow(job)))


@pytest.mark.usefixtures("registered")
def test_each_image_of_a_new_source_has_a_row(settings: Settings, ledger: Ledger, classifier: Classifier) -> None:
    job = submitted(settings, ledger, "checker:5")
    results = rows(settings, ledger, classifier, job)
    assert [row.path for row in results] == [f"checker:5/{number}.png" for number in range(5)]
    assert [row.error for row in results] == [""] * 5
    assert all(row.label in classifier.checkpoint.classes for row in results)
    (done,) = ledger.read(job, 0, 1)
    assert [origin.identity for origin in done.origins()] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("registered")
def test_a_list_may_contain_files_and_a_new_source(
    settings: Settings, ledger: Ledger, classifier: Classifier, folder: Path
) -> None:
    (folder / "a.png").write_bytes((SAMPLES / "003b50.png").read_bytes())
    (folder / "list.txt").write_text("a.png\nchecker:2\nchecker:1\n")
    settings = replace(settings, image_root=str(folder))
    results = rows(settings, ledger, classifier, submitted(settings, ledger, "@list.txt"))
    assert [row.path for row in results] == ["a.png", "checker:2/0.png", "checker:2/1.png", "checker:1/0.png"]
    assert [row.error for row in results] == [""] * 4


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("source", "part"),
    [("checker:many", "'many'"), ("checker:0", "no image"), ("chess:5", "No such file or directory")],
)
def test_a_new_source_that_cannot_be_listed_is_an_error_before_submission(source: str, part: str) -> None:
    with pytest.raises(SourceError) as error:
        expand([source], Root("/"))
    assert str(error.value).startswith(f"'{source}'")
    assert part in str(error.value)


def test_a_worker_that_does_not_know_a_source_gives_error_rows(
    settings: Settings, ledger: Ledger, classifier: Classifier
) -> None:
    with pytest.MonkeyPatch.context() as producer:
        producer.setattr(registry, "SOURCES", [*registry.SOURCES, Checkerboards])
        job = submitted(settings, ledger, "checker:2")
    results = rows(settings, ledger, classifier, job)
    assert [row.path for row in results] == ["checker:2/0.png", "checker:2/1.png"]
    assert all(row.error.startswith("unsupported: ") and "'checker'" in row.error for row in results)
