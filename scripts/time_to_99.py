"""Seconds until 99.0% of MNIST is read: ours against PyTorch's example, alternately; `make time-to-99`.

Each measurement is a process of its own: what torch prepares when it computes for the first time is part of a cold
start. The clock starts when the data is in memory and the network has fresh weights, and stands still, for both alike,
while the validation images are looked at. These are the last 5,000 of MNIST's training images; nobody learns from them.
"""

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.machine import describe, versions
from scripts.document import replaced
from training import data, loop, model
from training.data import Split
from training.recipe import Recipe
from training.recipes import plan

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "training.md"
GOAL = 0.99
VALIDATION = 5_000
#: Images that are learnt from between two looks.
EVERY = 2_560
#: Of the example; its own default is 14.
EPOCHS = 5
#: One short cycle over the first of the training images, unmoved: a network that sees an image once needs no variety.
#: Chosen on the validation images, by how many images it takes; docs/training.md has what was tried.
IMAGES = 35_840
RECIPE = Recipe(epochs=1, batch_size=128, learning_rate=1e-2, warmup=0.2, label_smoothing=0.05, augmentation=None)


class Reached(Exception):
    """Raised out of a training loop when the goal is reached."""


class Watch:
    """A clock that stands still while it looks how much a network reads.

    Args:
        labels: int64 [N], of the images that it looks at.

    Attributes:
        seconds: that were spent on training.
        seen: images that were learnt from, each as often as it was.
        accuracy: at the last look, 0…1.
    """

    def __init__(self, labels: Tensor) -> None:
        self.seconds, self.seen, self.accuracy = 0.0, 0, 0.0
        self._labels = labels

    def start(self, network: nn.Module, images: Tensor) -> None:
        """Start the clock for a network with fresh weights; it takes such images, [N, …]."""
        self._network, self._images = network, images
        self._since = time.perf_counter()

    def step(self, images: int) -> None:
        """Take note of a step of so many images, and look at the network now and then; Reached when it is there."""
        self.seen += images
        if self.seen // EVERY == (self.seen - images) // EVERY:
            return
        self.seconds += time.perf_counter() - self._since
        logits = loop.predict(self._network.eval(), self._images)
        self._network.train()
        self.accuracy = float((logits.argmax(dim=1) == self._labels).double().mean())
        if self.accuracy >= GOAL:
            raise Reached
        self._since = time.perf_counter()


def ours(training: Split, validation: Split, seed: int, watch: Watch) -> None:
    """Train `digits` by `training.loop.fit`, with the recipe for speed."""
    torch.manual_seed(seed)
    network = model.build("digits", model.trainable("digits", model.complete("digits", {})), 10)
    some = training.take(torch.arange(min(IMAGES, len(training))))
    watch.start(network, validation.images)
    loop.fit(network, some, validation, RECIPE, seed, on_step=lambda *_: watch.step(RECIPE.batch_size))


def example(training: Split, validation: Split, seed: int, watch: Watch) -> None:
    """Train as PyTorch's example for MNIST does, but for its loader: all images are in memory, normalised."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
    )
    optimiser = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=0.7)
    images, labels = _normalised(training.images), training.labels
    watch.start(network, _normalised(validation.images))
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(labels)), 64):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            watch.step(len(batch))
        schedule.step()


def _normalised(images: Tensor) -> Tensor:
    """uint8 [N, 28, 28, 1] → float32 [N, 1, 28, 28], as the example has it."""
    return (images.permute(0, 3, 1, 2).float() / 255 - 0.1307) / 0.3081


SIDES = {"ours": ours, "example": example}
NAMES = {"ours": "`digits`, by `training.loop.fit`", "example": "PyTorch's example for MNIST"}


@dataclass(frozen=True)
class Measured:
    """What one training came to; see `Watch`."""

    side: str
    seconds: float
    seen: int
    accuracy: float

    @property
    def reached(self) -> bool:
        """Whether it got there."""
        return self.accuracy >= GOAL

    def __str__(self) -> str:
        end = "" if self.reached else ": not there"
        return f"{self.side}: {self.seconds:.1f} s, {self.seen:,} images, {self.accuracy:.2%} of the unseen{end}"


def measure(side: str, folder: Path, seed: int) -> Measured:
    """Train once, in this process.

    Args:
        side: one of `SIDES`.
        folder: that holds MNIST.
        seed: of the weights and of all that is drawn.
    """
    whole = data.mnist(folder, "train", plan("digits").preprocessing)
    learnt = torch.arange(len(whole) - VALIDATION)
    validation = whole.take(torch.arange(len(learnt), len(whole)))
    watch = Watch(validation.labels)
    with suppress(Reached):
        SIDES[side](whole.take(learnt), validation, seed, watch)
    return Measured(side, watch.seconds, watch.seen, watch.accuracy)


def rounds(folder: Path, count: int) -> list[Measured]:
    """Measure both, one after the other, so many times, each in a process of its own."""
    found = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        for seed in range(count):
            for side in SIDES:
                found.append(processes.submit(measure, side, folder, seed).result())
                print(f"round {seed + 1}: {found[-1]}", flush=True)
    return found


def table(measured: Sequence[Measured]) -> str:
    """Give the figures in Markdown: medians, the least and the most."""
    lines = [
        "| | seconds to 99.0%, median | least to most | images learnt from, median |",
        "| --- | ---: | ---: | ---: |",
    ]
    for side, name in NAMES.items():
        all_of_it = [each for each in measured if each.side == side]
        # One that did not get there took longer than any that did.
        seconds = [each.seconds if each.reached else math.inf for each in all_of_it]
        seen = statistics.median(each.seen for each in all_of_it)
        lines.append(
            f"| {name} | {_seconds(statistics.median(seconds))} | {_seconds(min(seconds))} to {_seconds(max(seconds))} "
            f"| {seen:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def part(measured: Sequence[Measured], threads: int) -> str:
    """Give what stands in the document."""
    count = len(measured) // len(SIDES)
    return f"""{table(measured)}
`make time-to-99`: {count} rounds, seeds 0 to {count - 1}, the two in turn, with {threads} threads, on
{describe(threads)}; {versions()}.
"""


def _seconds(value: float) -> str:
    return "not reached" if math.isinf(value) else f"{value:.1f}"


def main() -> None:
    """Measure, and write the document."""
    parser = argparse.ArgumentParser(description="Seconds until 99.0% of MNIST is read, beside PyTorch's example.")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds MNIST")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args()
    text = options.document.read_text()
    replaced(text, "time to 99", "")  # told now, not after the last round
    written = part(rounds(options.data, options.rounds), torch.get_num_threads())
    options.document.write_text(replaced(text, "time to 99", written))


if __name__ == "__main__":
    main()
