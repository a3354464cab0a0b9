"""What bringing a picture into MNIST's form takes, for pictures that have it and for those that have not."""

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
SIDE = 200  # pixels, of a scene
_DIGIT = Preprocessing("digit", 28, 28, 1)

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Normalised:
    """Pictures of one kind.

    Args:
        name: of the kind.
        seconds: for each picture, in each round.
    """

    name: str
    seconds: list[float]


def _as_it_is(digit: Grey, lot: np.random.Generator) -> Grey:
    return digit


def _inverted(digit: Grey, lot: np.random.Generator) -> Grey:
    return 255 - digit


def _off_centre(digit: Grey, lot: np.random.Generator) -> Grey:
    return np.roll(255 - digit, 2, axis=1)


def _scene(digit: Grey, lot: np.random.Generator) -> Grey:
    """A digit somewhere on paper, in a light that falls off to one side, with a sensor's noise."""
    side = int(lot.integers(SIDE // 2, 3 * SIDE // 4))
    top, left = lot.integers(0, SIDE - side, 2)
    ink = np.zeros((SIDE, SIDE))
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    ink[top : top + side, left : left + side] = np.asarray(large) / 255
    light = np.linspace(0.7, 1.0, SIDE)  # from the left to the right
    levels = 230 * light * (1 - 0.75 * ink) + lot.normal(0, 4, ink.shape)
    scene: Grey = levels.clip(0, 255).astype(np.uint8)
    return scene


KINDS: dict[str, Callable[[Grey, np.random.Generator], Grey]] = {
    "as MNIST's are: the short way": _as_it_is,
    "28 x 28, the same in black on white": _inverted,
    "28 x 28, black on white, off-centre": _off_centre,
    f"{SIDE} x {SIDE}, ink on paper in uneven light, noise": _scene,
}


def measure(files: Sequence[Path], rounds: int) -> list[Normalised]:
    """Time each kind, made of the first of the files, so many times.

    Args:
        files: digits in MNIST's form.
        rounds: how many.
    """
    digits = [np.asarray(Image.open(file)) for file in files[:IMAGES]]
    found = []
    for name, make in KINDS.items():
        pictures = [make(digit, np.random.default_rng(number)) for number, digit in enumerate(digits)]
        taken = []
        for _ in range(rounds + 1):  # the first one warms up
            started = time.perf_counter()
            _, errors = _DIGIT.apply_all(pictures)
            taken.append((time.perf_counter() - started) / len(pictures))
        assert not errors  # a picture that is blank ends early
        found.append(Normalised(name, taken[1:]))
    return found


def as_table(measured: Sequence[Normalised]) -> str:
    """Give the figures in Markdown."""
    rows = [
        [
            each.name,
            *spread([seconds * 1e6 for seconds in each.seconds], ",.1f"),
            f"{1 / statistics.median(each.seconds):,.0f}",
        ]
        for each in measured
    ]
    return table(["picture", "µs an image", "least", "most", "images/s on one core"], rows)
