"""Measure the time of the digit normalisation, for pictures in MNIST's form and for others."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.tables import spread, table
from pigeonhole.imaging.preprocessing import Preprocessing

IMAGES = 250
SIDE = 200  # pixels, width and height of a scene
_DIGIT = Preprocessing("digit", 28, 28, 1)

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Normalised:
    """The measured times for pictures of one kind.

    Args:
        name: the name of the kind.
        seconds: the time per picture, in each round.
    """

    name: str
    seconds: list[float]


def _as_it_is(digit: Grey, rng: np.random.Generator) -> Grey:
    return digit


def _inverted(digit: Grey, rng: np.random.Generator) -> Grey:
    return 255 - digit


def _off_centre(digit: Grey, rng: np.random.Generator) -> Grey:
    return np.roll(255 - digit, 2, axis=1)


def _scene(digit: Grey, rng: np.random.Generator) -> Grey:
    """Draw a digit somewhere on paper, in light that is darker on one side, with a sensor's noise."""
    side = int(rng.integers(SIDE // 2, 3 * SIDE // 4))
    top, left = rng.integers(0, SIDE - side, 2)
    ink = np.zeros((SIDE, SIDE))
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    ink[top : top + side, left : left + side] = np.asarray(large) / 255
    light = np.linspace(0.7, 1.0, SIDE)  # from the left to the right
    levels = 230 * light * (1 - 0.75 * ink) + rng.normal(0, 4, ink.shape)
    scene: Grey = levels.clip(0, 255).astype(np.uint8)
    return scene


KINDS: dict[str, Callable[[Grey, np.random.Generator], Grey]] = {
    "in MNIST's form: the short cut": _as_it_is,
    "28 x 28, the same in black on white": _inverted,
    "28 x 28, black on white, off-centre": _off_centre,
    f"{SIDE} x {SIDE}, ink on paper in uneven light, noise": _scene,
}


def measure(files: Sequence[Path], rounds: int) -> list[Normalised]:
    """Measure each kind of picture in several rounds.

    Args:
        files: digits in MNIST's form; the first ones are used.
        rounds: the number of rounds.
    """
    digits = [np.asarray(Image.open(file)) for file in files[:IMAGES]]
    found = []
    for name, make in KINDS.items():
        pictures = [make(digit, np.random.default_rng(number)) for number, digit in enumerate(digits)]
        taken = []
        for _ in range(rounds + 1):  # the first round is a warm-up
            started = time.perf_counter()
            _, errors = _DIGIT.apply_all(pictures)
            taken.append((time.perf_counter() - started) / len(pictures))
        assert not errors  # a blank picture would take less time
        found.append(Normalised(name, taken[1:]))
    return found


def as_table(measured: Sequence[Normalised]) -> str:
    """Return the figures as a table in Markdown."""
    rows = [
        [
            each.name,
            *spread([seconds * 1e6 for seconds in each.seconds], ",.1f"),
            f"{1 / statistics.median(each.seconds):,.0f}",
        ]
        for each in measured
    ]
    return table(["picture", "µs per image", "least", "most", "images/s on one core"], rows)
