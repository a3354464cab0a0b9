"""What is measured of a system, and how: in rounds that alternate, so that whatever else changes hits all alike."""

import importlib.util
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from pigeonhole.version import install_hint

#: Images that a system classifies before each of its rounds, unless it is told otherwise: one large batch for each of
#: two processes.
WARM_UP = 4096


@dataclass(frozen=True)
class Images:
    """Files on disk.

    Args:
        folder: in which, or in whose folders, all of them and nothing else lie; absolute.
        paths: of all, absolute, sorted. Where some have fewer images of the same kind, theirs are the first, by name.
    """

    folder: str
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def names(self) -> list[str]:
        """Give the paths below the folder."""
        return [path.removeprefix(f"{self.folder}/") for path in self.paths]


class Clock:
    """Runs from when it is made, or from the last restart."""

    def __init__(self) -> None:
        self._made = self._begun = time.perf_counter()

    def restart(self, at: float | None = None) -> None:
        """Begin anew: a system that can't get ready before it is given images calls this once it is.

        Args:
            at: when it was, by `time.perf_counter` of any process; None: now.
        """
        self._begun = time.perf_counter() if at is None else at

    def read(self) -> tuple[float, float]:
        """Give the seconds since the last restart, and since this was made."""
        now = time.perf_counter()
        return now - self._begun, now - self._made


class System(Protocol):
    """A way to classify images. It is started and stopped for each round, so that none runs beside another."""

    def start(self) -> None:
        """Start what it needs, and wait until that is ready."""

    def run(self, images: Images, clock: Clock) -> Iterable[str]:
        """Classify, and give a label for each image, in the order of its paths; "" where there is none.

        The time is taken when it returns: where rows are on disk by then, their labels may be read back later.
        """

    def stop(self) -> None:
        """End all that was started."""


@dataclass(frozen=True)
class Entry:
    """A system in a comparison.

    Args:
        name: as the tables call it.
        system: makes it.
        images: what each round classifies.
        warm_up: what is classified before.
        settings: its settings, in words, with their reasons.
        comparable: whether its labels can be compared with the first's: it has the same network.
        needs: the package without which it is left out.
        wanted: how many times as fast the first shall be at least, and what to go for.
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
        """Whether its package is not installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


@dataclass
class Measured:
    """A system's rounds.

    Args:
        entry: the system.
        rates: images per second in each round, since it was ready.
        whole: the same with the time that it took to get ready after it was given the images.
        labels: of the last round, by the images' names.
    """

    entry: Entry
    rates: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rates)


def alternate(entries: Iterable[Entry], rounds: int, say: Callable[[str], None]) -> list[Measured]:
    """Measure: A B C A B C …; what lacks its package is left out, and that is said.

    Raises:
        RuntimeError: a system does not give a label for each image.
    """
    measured = []
    for entry in entries:
        if entry.missing:
            say(f"{entry.name}: left out, since {entry.needs} is not installed: {install_hint('bench')}")
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
        raise RuntimeError(f"{entry.name} gave {len(labels):,} labels for {len(entry.images):,} images")
    measured.rates.append(len(entry.images) / seconds)
    measured.whole.append(len(entry.images) / whole)
    measured.labels = dict(zip(entry.images.names(), labels, strict=True))


@contextmanager
def running(system: System) -> Iterator[System]:
    """Start a system, and stop it whatever happens."""
    try:
        system.start()
        yield system
    finally:
        system.stop()


def differing(one: Measured, other: Measured) -> tuple[int, int]:
    """Give how many images both have a label for that is not the same, and how many images both were given."""
    both = one.labels.keys() & other.labels.keys()
    return sum(one.labels[path] != other.labels[path] for path in both), len(both)
