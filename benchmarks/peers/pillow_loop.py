"""The plain loop for photos: Pillow opens, converts and resizes, then the network in eager torch; two processes."""

from collections.abc import Callable, Sequence

from benchmarks import colour
from benchmarks.machine import PROCESSES
from benchmarks.measure import Clock, Images
from benchmarks.peers.eager import Eager
from benchmarks.processes import Processes

SETTINGS = (
    '`Image.open(file).convert("RGB").resize((64, 64))`, batches of 64; each of 2 processes takes every other file'
)
SIZE = 64


class PillowLoop:
    """Two processes.

    Args:
        model: the checkpoint.
    """

    def __init__(self, model: str) -> None:
        self._model = model

    def start(self) -> None:
        """Load the checkpoint in both."""
        self._processes = Processes(PROCESSES, load, self._model)

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Have each classify its half, and put the labels together."""
        labels = [""] * len(images)
        for at, answers in enumerate(self._processes.ask([images.paths[at::PROCESSES] for at in range(PROCESSES)])):
            labels[at::PROCESSES] = answers
        return labels

    def stop(self) -> None:
        """End both."""
        self._processes.stop()


def load(model: str) -> Callable[[Sequence[str]], list[str]]:
    """Make what a process does: paths → labels."""
    colour.register()
    eager = Eager(model)
    return lambda paths: [label for at in range(0, len(paths), SIZE) for label in eager.classify(paths[at : at + SIZE])]
