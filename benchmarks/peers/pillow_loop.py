"""A simple loop for photos in two processes: Pillow opens, converts and resizes; the network runs in eager torch."""

from collections.abc import Callable, Sequence

from benchmarks import colour
from benchmarks.common.machine import PROCESSES
from benchmarks.common.measure import Clock, Images
from benchmarks.common.processes import Processes
from benchmarks.peers.eager import Eager

SETTINGS = (
    '`Image.open(file).convert("RGB").resize((64, 64))`, batches of 64; each of 2 processes takes every other file'
)
SIZE = 64


class PillowLoop:
    """Two processes, each with the loop.

    Args:
        model: the path of the checkpoint.
    """

    def __init__(self, model: str) -> None:
        self._model = model

    def start(self) -> None:
        """Load the checkpoint in both processes."""
        self._processes = Processes(PROCESSES, load, self._model)

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Classify half of the images in each process, and join the labels."""
        labels = [""] * len(images)
        for at, answers in enumerate(self._processes.ask([images.paths[at::PROCESSES] for at in range(PROCESSES)])):
            labels[at::PROCESSES] = answers
        return labels

    def stop(self) -> None:
        """End both processes."""
        self._processes.stop()


def load(model: str) -> Callable[[Sequence[str]], list[str]]:
    """Return the function of a process: paths → labels."""
    colour.register()
    eager = Eager(model)
    return lambda paths: [label for at in range(0, len(paths), SIZE) for label in eager.classify(paths[at : at + SIZE])]
