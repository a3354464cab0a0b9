"""The work of Pigeonhole's worker in two processes, without queue and ledger: the upper limit of its speed.

Decoder, preprocessing, network, runtime and chunk size are those of the worker.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from benchmarks.common.machine import PROCESSES
from benchmarks.common.measure import Clock, Images
from benchmarks.common.processes import Processes
from pigeonhole.jobs.submit import LARGEST
from pigeonhole.ledger.wire.messages import Batch, Group, Row
from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sinks.csv_rows import Csv
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from worker.processing.pipeline import Pipeline

SETTINGS = (
    "each of 2 processes takes every other batch of at most 2,048 images, and returns the labels at the end; it does "
    "not list folders or write rows"
)
ROWS_SETTINGS = (
    "it lists the folder as Pigeonhole does, and then each process classifies half of the batches as above and writes "
    "Pigeonhole's rows to its own CSV file"
)

T = TypeVar("T")


class BareLoop:
    """Two processes that turn a list of files into labels in memory.

    Args:
        model: a checkpoint's path, or the name of a shipped one.
    """

    def __init__(self, model: str = "digits") -> None:
        self._model = model

    def start(self) -> None:
        """Load the checkpoint in both."""
        self._processes = Processes(PROCESSES, load, self._model)

    def run(self, images: Images, clock: Clock) -> Iterable[str]:
        """Classify the batches in both processes, and join the labels."""
        batches = cut(images.paths)
        labels: list[list[str]] = [[] for _ in batches]
        for number, answers in enumerate(self._processes.ask([batches[at::PROCESSES] for at in range(PROCESSES)])):
            labels[number::PROCESSES] = answers
        return [label for batch in labels for label in batch]

    def stop(self) -> None:
        """End both."""
        self._processes.stop()


class RowsLoop:
    """Two processes that turn a folder into CSV files."""

    def start(self) -> None:
        """Load the checkpoint in both."""
        self._open = ExitStack()
        self._folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="bench-rows-"))
        self._processes = Processes(PROCESSES, load_rows, "digits")
        self._open.callback(self._processes.stop)

    def run(self, images: Images, clock: Clock) -> Iterable[str]:
        """List the folder, and classify it in both processes, each of which writes a file."""
        paths = [reference.shown + reference.path for reference in expand([images.folder], Root("/"))]
        batches = cut(paths)
        files = [os.path.join(self._folder, f"{at}.csv") for at in range(PROCESSES)]
        self._processes.ask([(file, batches[at::PROCESSES]) for at, file in enumerate(files)])
        return in_order(images.paths, files)

    def stop(self) -> None:
        """End both."""
        self._open.close()


def in_order(paths: Sequence[str], files: Sequence[str]) -> Iterable[str]:
    """Yield the labels from the files, after the time was measured."""
    labels = dict[str, str]()
    for file in files:
        with open(file, "rb") as stream:
            labels.update((row.path, row.label) for _, row in Csv().scan(stream))
    yield from (labels[path] for path in paths)


def cut(items: Sequence[T]) -> list[Sequence[T]]:
    """Return batches of equal size, the same number for each process, so that all end at the same time."""
    each = max(1, -(-len(items) // (PROCESSES * LARGEST))) * PROCESSES  # rounded up
    ends = [len(items) * number // each for number in range(each + 1)]
    return [items[start:end] for start, end in pairwise(ends)]


def load(model: str) -> Callable[[list[Sequence[str]]], list[list[str]]]:
    """Return the function of a process: batches of paths → their labels."""
    classify = classifying(model)

    def work(batches: list[Sequence[str]]) -> list[list[str]]:
        return [[row.label for row in classify(batch)] for batch in batches]

    return work


def load_rows(model: str) -> Callable[[tuple[str, list[Sequence[str]]]], None]:
    """Return the function of a process: (file, batches of paths) → rows in the file."""
    classify = classifying(model)

    def work(task: tuple[str, list[Sequence[str]]]) -> None:
        file, batches = task
        with open(file, "wb") as stream:
            stream.write(Csv.header)
            for batch in batches:
                stream.write(Csv().encode(classify(batch)))

    return work


def classifying(model: str) -> Callable[[Sequence[str]], list[Row]]:
    """Load a checkpoint, and return a function that classifies a batch of paths."""
    settings = replace(Settings(), model=model)
    pipeline = Pipeline(settings, Classifier.load(checkpoint.find(model), settings))

    def classify(paths: Sequence[str]) -> list[Row]:
        batch = Batch((Group("file", "/", "", tuple(path[1:] for path in paths)),))
        return pipeline.classify(batch).rows(batch)

    return classify
