"""Measure systems in alternating rounds, so that other changes on the machine affect all of them."""

import importlib.util
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from pigeonhole.version import install_hint

#: The default number of images that warm up a system before each round: one large batch for each of two processes.
WARM_UP = 4096


@dataclass(frozen=True)
class Images:
    """Image files on disk.

    Args:
        folder: the absolute path of the folder that contains all images, also in sub-folders, and nothing else.
        paths: the absolute paths of all images, sorted. A system with fewer images gets the first ones, by name.
    """

    folder: str
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def names(self) -> list[str]:
        """Return the paths relative to the folder."""
        return [path.removeprefix(f"{self.folder}/") for path in self.paths]


class Clock:
    """A clock that runs from its creation, or from the last restart."""

    def __init__(self) -> None:
        self._made = self._begun = time.perf_counter()

    def restart(self, at: float | None = None) -> None:
        """Restart the clock. A system that needs the images to get ready calls this when it is ready.

        Args:
            at: the time of the restart, by `time.perf_counter` of any process; None: now.
        """
        self._begun = time.perf_counter() if at is None else at

    def read(self) -> tuple[float, float]:
        """Return the seconds since the last restart, and since the creation."""
        now = time.perf_counter()
        return now - self._begun, now - self._made


class System(Protocol):
    """A way to classify images. It is started and stopped in each round, so that only one system runs at a time."""

    def start(self) -> None:
        """Start all processes, and wait until they are ready."""

    def run(self, images: Images, clock: Clock) -> Iterable[str]:
        """Return a label for each image, in the order of the paths; "" for an image without a label.

        The time is measured until this returns. A system whose rows are on disk then may read the labels later.
        """

    def stop(self) -> None:
        """End all processes."""


@dataclass(frozen=True)
class Entry:
    """A system in a comparison.

    Args:
        name: the system's name in tables.
        system: returns the system.
        images: the images of each round.
        warm_up: the images to classify before each round.
        settings: the system's settings, in words, with reasons.
        comparable: whether it has the same network as the first system, so that labels can be compared.
        needs: the package that it needs; without it, the system is skipped.
        wanted: two targets for the first system's speed, as a multiple of this system's: required and desired.
    """

    name: str
    system: Callable[[], System]
    images: Images
    warm_up: Images
    settings: str = ""
    comparable: bool = True
    needs: str = ""
    wanted: tuple[float, float] | None = None

    @property
    def missing(self) -> bool:
        """Return whether the package that it needs is missing."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


@dataclass
class Measured:
    """The measured rounds of a system.

    Args:
        entry: the system.
        rates: images per second in each round, from the time when it was ready.
        whole: images per second in each round, including the time to get ready after it got the images.
        labels: name of an image → its label in the last round.
    """

    entry: Entry
    rates: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The median of the rounds, in images per second."""
        return statistics.median(self.rates)


def alternate(entries: Iterable[Entry], rounds: int, say: Callable[[str], None]) -> list[Measured]:
    """Measure systems in alternating rounds, A B C A B C …; skip systems whose package is missing.

    Args:
        entries: the systems.
        rounds: the number of rounds of each system.
        say: prints a line of progress.

    Raises:
        RuntimeError: a system does not return a label for each image.
    """
    measured = []
    for entry in entries:
        if entry.missing:
            say(f"{entry.name}: skipped, because {entry.needs} is not installed: {install_hint('bench')}")
        else:
            measured.append(Measured(entry))
    for number in range(rounds):
        for each in measured:
            _round(each)
            say(f"round {number + 1} of {rounds}: {each.entry.name}: {each.rates[-1]:,.0f} images/s")
    return measured


def _round(measured: Measured) -> None:
    entry = measured.entry
    with running(entry.system()) as system:
        deque(system.run(entry.warm_up, Clock()), 0)
        clock = Clock()
        answers = system.run(entry.images, clock)
        seconds, whole = clock.read()
        labels = list(answers)
    if len(labels) != len(entry.images):
        raise RuntimeError(f"{entry.name} returned {len(labels):,} labels for {len(entry.images):,} images")
    measured.rates.append(len(entry.images) / seconds)
    measured.whole.append(len(entry.images) / whole)
    measured.labels = dict(zip(entry.images.names(), labels, strict=True))


@contextmanager
def running(system: System) -> Iterator[System]:
    """Start a system, and stop it at the end, also after an error."""
    try:
        system.start()
        yield system
    finally:
        system.stop()


def differing(one: Measured, other: Measured) -> tuple[int, int]:
    """Return the number of images with different labels, and the number of images that both systems classified."""
    both = one.labels.keys() & other.labels.keys()
    return sum(one.labels[path] != other.labels[path] for path in both), len(both)
