"""The chunks of the pool: pictures of one kind, made in any process. It imports no torch, so processes start fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import DatasetError
from pigeonhole.imaging.preprocessing import Preprocessing
from training.synthetic import printed, styles
from training.synthetic.kinds import DRAWN, KINDS, OUTLIER, PRINTED
from training.synthetic.likeness import Likeness
from training.synthetic.raster import Digits, Rng

_LEAST = 16  # pictures drawn at once: some kinds mix digits of several classes
_MOST_ROUNDS = 100  # attempts to replace pictures that are blank or like a digit


@dataclass(frozen=True)
class Chunk:
    """The description of a chunk.

    Args:
        seed: Seed of the pool.
        number: Number of the chunk in the pool; seed and number together seed its random generator.
        kind: Index in `KINDS`.
        count: Number of pictures.
    """

    seed: int
    number: int
    kind: int
    count: int


class Maker:
    """Makes chunks from the training images.

    Args:
        images: uint8 [N, 28, 28].
        labels: int64 [N].
        other: Label of an outlier.
        preprocessing: Preprocessing of every picture, the same as in a worker.
        fonts: Font files; may be empty if no chunk has a printed kind.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        other: int,
        preprocessing: Preprocessing,
        fonts: Sequence[Path],
    ) -> None:
        self._images, self._labels, self._other = images, labels, other
        self._preprocessing, self._fonts = preprocessing, tuple(fonts)
        self._likeness = Likeness(images)

    def make(self, chunk: Chunk) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Make the pictures of a chunk; the same chunk always gives the same pictures.

        Returns:
            Pictures uint8 [count, height, width, channels], and labels int64 [count].

        Raises:
            DatasetError: The training images are blank.
        """
        rng = np.random.default_rng([chunk.seed, chunk.number])
        images, labels = list[NDArray[np.uint8]](), list[NDArray[np.int64]]()
        missing = chunk.count
        for _ in range(_MOST_ROUNDS):
            found, of = self._round(chunk.kind, max(missing, _LEAST), rng)
            images.append(found[:missing])
            labels.append(of[:missing])
            missing -= len(images[-1])
            if not missing:
                return np.concatenate(images), np.concatenate(labels)
        name = KINDS[chunk.kind].name
        raise DatasetError(
            f"After {_MOST_ROUNDS} attempts, pictures of the kind {name!r} are still blank, or like digits. Check the "
            "training images, or use --no-synthetic."
        )

    def _round(self, kind: int, count: int, rng: Rng) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Draw `count` pictures; return those that are neither blank nor outliers that resemble a digit."""
        digits = self.sample(kind, count, rng)
        pixels, blank = self._preprocessing.apply_all(list(KINDS[kind].draw(digits, rng)))
        if KINDS[kind].source == OUTLIER:
            accepted = pixels[self._likeness(pixels[..., 0]) <= KINDS[kind].likeness]
            return accepted, np.full(len(accepted), self._other, np.int64)
        return pixels, np.delete(digits.labels.astype(np.int64), list(blank))

    def sample(self, kind: int, count: int, rng: Rng) -> Digits:
        """Draw the digits that `count` pictures of a kind are made from."""
        if KINDS[kind].source == PRINTED:
            return printed.sample(self._fonts, count, rng)
        if KINDS[kind].source == DRAWN:
            return styles.sample(count, rng)
        at = rng.integers(0, len(self._images), count)
        return Digits(self._images[at].astype(np.float32) / np.float32(255.0), self._labels[at])


_maker: Maker | None = None  # set by `prepare` in a process that makes chunks


def prepare(*arguments: object) -> None:
    """Set up a process that makes chunks; `arguments` are the `Maker`'s."""
    global _maker
    _maker = Maker(*arguments)  # type: ignore[arg-type]


def make(chunk: Chunk) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Make a chunk in a process that `prepare` has set up."""
    assert _maker is not None
    return _maker.make(chunk)
