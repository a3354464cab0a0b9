"""What Pigeonhole's worker does with images (its decoder, preprocessing, network, runtime and chunk) in two processes,
with no queue and no ledger: as fast as it could be.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from benchmarks.machine import PROCESSES
from benchmarks.measure import Clock, Images
from benchmarks.processes import Processes
from pigeonhole.jobs.submit import LARGEST
from pigeonhole.ledger.messages import Batch, Group, Row
from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sinks.csv_rows import Csv
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from worker.pipeline import Pipeline

SETTINGS = (
    "each of 2 processes takes every other batch of at most 2,048 images, and returns the labels at its end; nobody "
    "walks folders or writes rows"
)
ROWS_SETTINGS = (
    "it walks the folder as Pigeonhole does, and then each process classifies half of the batches as above and writes "
    "Pigeonhole's rows to a CSV file of its own"
)

T = TypeVar("T")


class BareLoop:
    """Two processes, from a list of files to labels in memory.

    Args:
        model: the checkpoint.
    """

    def __init__(self, model: str = "digits") -> None:
        self._model = model

    def start(self) -> None:
        """Load the checkpoint in both."""
        self._processes = Processes(PROCESSES, load, self._model)

    def run(self, images: Images, clock: Clock) -> Iterable[str]:
        """Have each classify its batches, and put the labels together."""
        batches = cut(images.paths)
        labels: list[list[str]] = [[] for _ in batches]
        for number, answers in enumerate(self._processes.ask([batches[at::PROCESSES] for at in range(PROCESSES)])):
            labels[number::PROCESSES] = answers
        return [label for batch in labels for label in batch]

    def stop(self) -> None:
        """End both."""
        self._processes.stop()


class RowsLoop:
    """Two processes, from a folder to CSV files."""

    def start(self) -> None:
        """Load the checkpoint in both."""
        self._open = ExitStack()
        self._folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="bench-rows-"))
        self._processes = Processes(PROCESSES, load_rows, "digits")
        self._open.callback(self._processes.stop)

    def run(self, images: Images, clock: Clock) -> Iterable[str]:
        """Walk, and have each process write a file."""
        paths = [reference.shown + reference.path for reference in expand([images.folder], Root("/"))]
        batches = cut(paths)
        files = [os.path.join(self._folder, f"{at}.csv") for at in range(PROCESSES)]
        self._processes.ask([(file, batches[at::PROCESSES]) for at, file in enumerate(files)])
        return in_order(images.paths, files)

    def stop(self) -> None:
        """End both."""
        self._open.close()


def in_order(paths: Sequence[str], files: Sequence[str]) -> Iterable[str]:
    """Read the labels back, when the time has been taken."""
    labels = dict[str, str]()
    for file in files:
        with open(file, "rb") as stream:
            labels.update((row.path, row.label) for _, row in Csv().scan(stream))
    yield from (labels[path] for path in paths)


def cut(items: Sequence[T]) -> list[Sequence[T]]:
    """Cut into batches of one size, as many for each process, so that none waits for another at the end."""
    each = max(1, -(-len(items) // (PROCESSES * LARGEST))) * PROCESSES  # rounded up
    ends = [len(items) * number // each for number in range(each + 1)]
    return [items[start:end] for start, end in pairwise(ends)]


def load(model: str) -> Callable[[list[Sequence[str]]], list[list[str]]]:
    """Make what a process does: batches of paths → their labels."""
    classify = classifying(model)

    def work(batches: list[Sequence[str]]) -> list[list[str]]:
        return [[row.label for row in classify(batch)] for batch in batches]

    return work


def load_rows(model: str) -> Callable[[tuple[str, list[Sequence[str]]]], None]:
    """Make what a process does: (file, batches of paths) → rows in the file."""
    classify = classifying(model)

    def work(task: tuple[str, list[Sequence[str]]]) -> None:
        file, batches = task
        with open(file, "wb") as stream:
            stream.write(Csv.header)
            for batch in batches:
                stream.write(Csv().encode(classify(batch)))

    return work


def classifying(model: str) -> Callable[[Sequence[str]], list[Row]]:
    """Load a checkpoint, and give what classifies a batch of paths."""
    settings = replace(Settings(), model=model)
    pipeline = Pipeline(settings, Classifier.load(checkpoint.find(model), settings))

    def classify(paths: Sequence[str]) -> list[Row]:
        batch = Batch((Group("file", "/", "", tuple(path[1:] for path in paths)),))
        return pipeline.classify(batch).rows(batch)

    return classify
