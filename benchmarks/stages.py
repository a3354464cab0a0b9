"""Measure the time per image of each stage alone, on one processor, and the limit that it sets for one core."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.common.measure import Images
from benchmarks.tables import spread, table
from pigeonhole.imaging import preprocess
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.jobs.follow import BATCHES_AT_ONCE
from pigeonhole.jobs.submit import batches
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Answers, Batch, Row
from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sinks.csv_rows import Csv
from pigeonhole.sinks.file import File
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from worker.processing.collected import Collected

#: The stages in a worker's process; the bare loop has only these.
OF_THE_WORKER = ("read", "decode", "normalise", "stack", "forward")


@dataclass(frozen=True)
class Stage:
    """The measured times of a stage.

    Args:
        name: the stage's name in the table and the plot.
        does: the work of the stage, in words.
        seconds: the time per image, in each round.
    """

    name: str
    does: str
    seconds: list[float]

    @property
    def micros(self) -> float:
        """The median time per image, in microseconds."""
        return statistics.median(self.seconds) * 1e6


_DOES = {
    "list": "list the folders, create references",
    "read": "open beneath the root, read the file",
    "decode": "file → grey pixels",
    "normalise": "MNIST's form, a chunk in one array",
    "stack": "a batch's results in one array",
    "forward": "network, softmax, best three, in chunks of 256",
    "encode": "results → deflated JSON",
    "commit": "remove a pending batch and store its results, without encoding them",
    "fetch": "read finished batches, create rows",
    "write": "rows → CSV on disk",
}


class Stopwatch:
    """Adds up the time of each stage.

    Args:
        images: the number of images in a round.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of a `with` block to a stage."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + (time.perf_counter() - started) / self._images


def measure(images: Images, socket: Path, rounds: int) -> list[Stage]:
    """Measure each stage over all images, one stage after the other, in several rounds.

    Args:
        images: images of digits.
        socket: the path of a Redis socket, for the ledger.
        rounds: the number of rounds.
    """
    settings = replace(Settings(), broker_url=f"unix://{socket}", prefix="stages")
    classifier = Classifier.load(checkpoint.find(settings.model), settings)
    taken = []
    # One more round: the first is a warm-up.
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
    """Return a batch's results, as a worker's process does, but one stage after the other."""
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
    """Results that are encoded already."""

    data: bytes = b""

    def encode(self) -> bytes:
        """Return the encoded results."""
        return self.data


def _recorded(cut: Sequence[Batch], answers: Sequence[Answers], settings: Settings, stopwatch: Stopwatch) -> None:
    """Store, fetch and write the results, as ledger and producer do, but one stage after the other."""
    ledger = Ledger(settings)
    job = ledger.create("digits", ())
    pieces = [ledger.add(job, number, batch) for number, batch in enumerate(cut)]
    for piece, answer in zip(pieces, answers, strict=True):
        assert piece is not None  # no other process adds to this job
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
    """Return the table of each stage's time, limit and share.

    Args:
        stages: the measured stages.
        bare: the time per image of one process in the bare loop, in microseconds.
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
    rows.append(["read to forward", "sum", f"{total:,.1f}", "", "", f"{1e6 / total:,.0f}", f"{total / bare:.0%}"])
    heads = ["stage", "does", "µs per image", "least", "most", "images/s on one core", "of the bare loop's time"]
    return table(heads, rows, words=2)
