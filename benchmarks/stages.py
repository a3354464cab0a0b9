"""What each stage takes of an image's time, by itself, on one processor: the limit that it sets for one core."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.measure import Images
from benchmarks.tables import spread, table
from pigeonhole.imaging import preprocess
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.jobs.follow import BATCHES_AT_ONCE
from pigeonhole.jobs.submit import batches
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.messages import Answers, Batch, Row
from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sinks.csv_rows import Csv
from pigeonhole.sinks.file import File
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from worker.collected import Collected

#: Those that a worker's process does for each image; the bare loop has just these.
OF_THE_WORKER = ("read", "decode", "normalise", "stack", "forward")


@dataclass(frozen=True)
class Stage:
    """A stage.

    Args:
        name: as the issue, the table and the plot call it.
        does: in words.
        seconds: for each image, in each round.
    """

    name: str
    does: str
    seconds: list[float]

    @property
    def micros(self) -> float:
        """The median, in microseconds."""
        return statistics.median(self.seconds) * 1e6


_DOES = {
    "list": "walk the folders, give references",
    "read": "open beneath the root, read the file",
    "decode": "file → grey pixels",
    "normalise": "MNIST's form, a chunk in one array",
    "stack": "a batch's answers in one array",
    "forward": "network, softmax, best three, in chunks of 256",
    "encode": "answers → deflated JSON",
    "commit": "strike a batch off and store its answers; its encoding not counted",
    "fetch": "read what is done, put rows together",
    "write": "rows → CSV on disk",
}


class Stopwatch:
    """Adds up what each stage takes.

    Args:
        images: of a round.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what is a stage, or a part of it."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + (time.perf_counter() - started) / self._images


def measure(images: Images, socket: Path, rounds: int) -> list[Stage]:
    """Time each stage over all images, so many times, one stage after the other.

    Args:
        images: of digits.
        socket: of a Redis for the ledger.
        rounds: how many.
    """
    settings = replace(Settings(), broker_url=f"unix://{socket}", prefix="stages")
    classifier = Classifier.load(checkpoint.find(settings.model), settings)
    taken = []
    # One more, the first, warms up whatever warms up.
    for _ in range(rounds + 1):
        stopwatch = Stopwatch(len(images))
        with stopwatch("list"):
            references = list(expand([images.folder], Root("/")))
        cut = list(batches(references))
        answers = [_classified(batch, settings, classifier, stopwatch) for batch in cut]
        _recorded(cut, answers, settings, stopwatch)
        taken.append(stopwatch.seconds)
    return [Stage(name, does, [each[name] for each in taken[1:]]) for name, does in _DOES.items()]


def _classified(batch: Batch, settings: Settings, classifier: Classifier, stopwatch: Stopwatch) -> Answers:
    """Do what a worker's process does with a batch, a stage at a time."""
    about = classifier.checkpoint
    wanted = about.preprocessing
    reader = ImageReader(settings.image_root, wanted, settings.max_bytes, settings.max_pixels)
    collected = Collected(classifier, len(batch))
    locations = list(batch.located())
    for start in range(0, len(locations), settings.chunk):
        chunk = locations[start : start + settings.chunk]
        with stopwatch("read"):
            files = [reader.read(location) for location in chunk]
        with stopwatch("decode"):
            decoded = [preprocess.decode(file.data, wanted, settings.max_pixels) for file in files]
        with stopwatch("normalise"):
            pixels, _ = wanted.apply_all(decoded)
        with stopwatch("forward"):
            scores = classifier.predict(pixels)
        with stopwatch("stack"):
            collected.identify({start + at: file.identity for at, file in enumerate(files)})
            collected.score(np.arange(start, start + len(pixels)), scores)
    with stopwatch("stack"):
        return collected.answers(len(batch))


@dataclass(frozen=True)
class _Encoded(Answers):
    """Answers that were encoded before."""

    data: bytes = b""

    def encode(self) -> bytes:
        """Give them as they are."""
        return self.data


def _recorded(cut: Sequence[Batch], answers: Sequence[Answers], settings: Settings, stopwatch: Stopwatch) -> None:
    """Do what ledger and producer do with the answers, a stage at a time."""
    ledger = Ledger(settings)
    job = ledger.create("digits", ())
    pieces = [ledger.add(job, number, batch) for number, batch in enumerate(cut)]
    for piece, answer in zip(pieces, answers, strict=True):
        assert piece is not None  # nobody else adds to this job
        ledger.claim(job, piece)
        with stopwatch("encode"):
            data = replace(answer, batch=piece.digest).encode()
        encoded = _Encoded(answer.model, answer.labels, answer.images, answer.top, answer.best, answer.ppm, data=data)
        with stopwatch("commit"):
            ledger.commit(job, piece, encoded)
    with tempfile.TemporaryDirectory(prefix="bench-rows-") as folder:
        sink = File(f"{folder}/rows.csv", Csv())
        for start in range(0, len(cut), BATCHES_AT_ONCE):
            with stopwatch("fetch"):
                rows = _rows(ledger, job, start)
            with stopwatch("write"):
                for of_batch in rows:
                    sink.write(of_batch)
        with stopwatch("write"):
            sink.finish()
    ledger.delete(job)


def _rows(ledger: Ledger, job: str, start: int) -> list[list[Row]]:
    return [done.rows() for done in ledger.read(job, start, BATCHES_AT_ONCE)]


def stages_table(stages: Sequence[Stage], bare: float) -> str:
    """Give each stage's time, limit and share.

    Args:
        stages: all.
        bare: microseconds of one process for each image in the bare loop.
    """
    rows = [
        [
            stage.name,
            stage.does,
            *spread([seconds * 1e6 for seconds in stage.seconds], ",.1f"),
            f"{1e6 / stage.micros:,.0f}",
            f"{stage.micros / bare:.0%}",
        ]
        for stage in stages
    ]
    total = sum(stage.micros for stage in stages if stage.name in OF_THE_WORKER)
    rows.append(["read to forward", "added up", f"{total:,.1f}", "", "", f"{1e6 / total:,.0f}", f"{total / bare:.0%}"])
    heads = ["stage", "does", "µs an image", "least", "most", "images/s on one core", "of the bare loop's time"]
    return table(heads, rows, words=2)
