"""A simple script: open, resize and classify one image after the other with the network `classic`."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from PIL import Image

from benchmarks.common.machine import ONE_THREAD, environment
from benchmarks.common.measure import Clock, Images
from benchmarks.common.processes import Processes
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.classic import Classic

SETTINGS = "one process, batches of one, {threads}; random weights, so its labels are meaningless"


class OneAtATime:
    """One process that classifies one image at a time.

    Args:
        default_threads: whether torch uses its default of one thread per processor; else one thread.
    """

    def __init__(self, default_threads: bool) -> None:
        self._environment: dict[str, str | None] = dict.fromkeys(ONE_THREAD) if default_threads else {}

    def start(self) -> None:
        """Start the process, and build the network in it."""
        with environment(self._environment):
            self._process = Processes(1, load)

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Classify one image after the other."""
        labels: list[str] = self._process.ask([images.paths])[0]
        return labels

    def stop(self) -> None:
        """End the process."""
        self._process.stop()


def load() -> Callable[[Sequence[str]], list[str]]:
    """Return the function of the process: paths → labels."""
    network = cast(Classic, networks.build("classic", {}, 10)).layers.eval()

    def work(paths: Sequence[str]) -> list[str]:
        labels = []
        with torch.no_grad():
            for path in paths:
                image = Image.open(path).convert("L").resize((28, 28))
                pixels = torch.from_numpy(np.array(image)).reshape(1, 1, 28, 28).float() / 255
                labels.append(str(network(pixels).argmax(dim=1).item()))
        return labels

    return work
