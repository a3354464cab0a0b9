"""The validation split of picture files, chosen by their pixels: it stays the same when pictures are added."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import DatasetError


def divide(
    labels: NDArray[np.int64], digests: NDArray[np.uint8], share: float, seed: int, classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide pictures in two, each class in the same proportion.

    A hash of pixels and seed gives each picture a number, and the smallest numbers of each class are the second part.
    If a training starts from a checkpoint and pictures were added, it validates on hardly any picture that the
    checkpoint was trained on.

    Args:
        labels: Labels of the pictures, int64 [N].
        digests: uint8 [N, D], digests of their pixels.
        share: Share of each class in the second part, above 0 and below 1; at least one picture of each.
        seed: Seed of the numbers.
        classes: Names of the labels.

    Returns:
        Indices of the first part, to train on, and of the second, to validate on; int64, ascending.

    Raises:
        DatasetError: A class has too few pictures for both parts.
    """
    drawn = [hashlib.sha256(b"%d %s" % (seed, digest.tobytes())).digest() for digest in digests]
    second: list[int] = []
    for label in np.unique(labels).tolist():
        members = sorted(np.flatnonzero(labels == label).tolist(), key=drawn.__getitem__)
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DatasetError(
                f"The class {classes[label]!r} has {len(members)} pictures: too few to train on and to use "
                f"{share:.0%} for validation."
            )
        second += members[:count]
    in_second = np.zeros(len(labels), bool)
    in_second[second] = True
    return np.flatnonzero(~in_second), np.flatnonzero(in_second)
