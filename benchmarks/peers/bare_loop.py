"""What Pigeonhole's worker does with images (its decoder, preprocessing, network, runtime and chunk) in two processes,
with no queue, no ledger and no rows: as fast as it could be.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from benchmarks.machine import PROCESSES
from benchmarks.measure import Clock, Images
from benchmarks.processes import Processes
from producer.submit import LARGEST
from training import checkpoint
from worker.classifier import Classifier
from worker.contract.messages import Batch, Group
from worker.contract.settings import Settings
from worker.pipeline import Pipeline

SETTINGS = (
    "each of 2 processes takes every other batch of at most 2,048 images, and returns the labels at its end; nobody "
    "walks folders or writes rows"
)


class BareLoop:
    """Two processes.

    Args:
        model: the checkpoint.
    """

    def __init__(self, model: str = "digits") -> None:
        self._model = model

    def start(self) -> None:
        """Load the checkpoint in both."""
        self._processes = Processes(PROCESSES, load, self._model)

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Have each classify its batches, and put the labels together."""
        batches = cut(images.paths)
        labels: list[list[str]] = [[] for _ in batches]
        for number, answers in enumerate(self._processes.ask([batches[at::PROCESSES] for at in range(PROCESSES)])):
            labels[number::PROCESSES] = answers
        return [label for batch in labels for label in batch]

    def stop(self) -> None:
        """End both."""
        self._processes.stop()


def cut(paths: Sequence[str]) -> list[Sequence[str]]:
    """Cut into batches of one size, as many for each process, so that none waits for another at the end."""
    each = max(1, -(-len(paths) // (PROCESSES * LARGEST))) * PROCESSES  # rounded up
    ends = [len(paths) * number // each for number in range(each + 1)]
    return [paths[start:end] for start, end in pairwise(ends)]


def load(model: str) -> Callable[[list[Sequence[str]]], list[list[str]]]:
    """Make what a process does: batches of paths → their labels."""
    settings = replace(Settings(), model=model)
    pipeline = Pipeline(settings, Classifier.load(checkpoint.find(model), settings.device))

    def work(batches: list[Sequence[str]]) -> list[list[str]]:
        return [labels(batch) for batch in batches]

    def labels(paths: Sequence[str]) -> list[str]:
        batch = Batch((Group("", "", tuple(path[1:] for path in paths)),))
        return [row.label for row in pipeline.classify(batch).predictions(batch)]

    return work
