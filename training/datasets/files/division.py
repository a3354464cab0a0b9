"""The validation split of picture files: drawn by their pixels, so that a data set that has grown is divided alike."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import DatasetError


def divide(
    labels: NDArray[np.int64], digests: NDArray[np.uint8], share: float, seed: int, classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide pictures in two, each class in the same proportion.

    Each picture gets a number by its pixels and the seed, and the smallest numbers of each class are kept. So a
    training that begins with a checkpoint, on the same pictures and some more, validates on hardly any picture that the
    checkpoint has learned.

    Args:
        labels: Labels of the pictures, int64 [N].
        digests: uint8 [N, D], digests of their pixels.
        share: Share of each class in the second part, above 0 and below 1; at least one picture of each.
        seed: Seed of the numbers.
        classes: Names of the labels.

    Returns:
        Indices of the first part, to train on, and of the second, to validate on; int64, rising.

    Raises:
        DatasetError: A class is too small to be in both.
    """
    drawn = [hashlib.sha256(b"%d %s" % (seed, digest.tobytes())).digest() for digest in digests]
    second: list[int] = []
    for label in np.unique(labels).tolist():
        members = sorted(np.flatnonzero(labels == label).tolist(), key=drawn.__getitem__)
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DatasetError(
                f"The class {classes[label]!r} has {len(members)} pictures: too few to train on and to keep "
                f"{share:.0%} for validation."
            )
        second += members[:count]
    kept = np.zeros(len(labels), bool)
    kept[second] = True
    return np.flatnonzero(~kept), np.flatnonzero(kept)
