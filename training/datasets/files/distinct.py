"""The choice of the pictures to train on: readable, without duplicates, and in one class each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import ImageError
from pigeonhole.filesystem.files import shown

TRAINING, VALIDATION, TEST = "training", "validation", "test"
# A picture that is in several parts stays in the first of these, so that the test images stay complete.
_ORDER = {TEST: 0, VALIDATION: 1, TRAINING: 2}


class Picture(NamedTuple):
    """A labelled file: the part that it is in, the index of its class, and its path."""

    part: str
    label: int
    path: str


@dataclass(frozen=True)
class LeftOut:
    """A file that is not used.

    Args:
        path: Path of the file, as text that any output can print.
        reason: "unreadable", "duplicate", or "ambiguous" if it is in several classes.
        detail: The error, or the file or classes that have the same picture.
    """

    path: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


def distinct(
    pictures: Sequence[Picture],
    classes: Sequence[str],
    digests: NDArray[np.uint8],
    failed: Mapping[int, ImageError],
) -> tuple[NDArray[np.int64], tuple[LeftOut, ...]]:
    """Separate the pictures that are used from those that are left out.

    Two pictures are the same if their pixels are equal after preprocessing, as those of lossless copies are.

    Args:
        pictures: N files.
        classes: Names of the classes, in the order of the labels.
        digests: uint8 [N, D], digests of the pixels.
        failed: Index of a file that could not be read → the error.

    Returns:
        Indices of the used pictures, int64 [n], ascending; and the files that are left out.
    """
    alike: dict[bytes, list[int]] = {}
    for at in range(len(pictures)):
        if at not in failed:
            alike.setdefault(digests[at].tobytes(), []).append(at)
    used = []
    paths = [shown(picture.path) for picture in pictures]
    left_out = {at: LeftOut(paths[at], "unreadable", str(error)) for at, error in failed.items()}
    for group in alike.values():
        first, *others = sorted(group, key=lambda at: _ORDER[pictures[at].part])  # stable: by path within a part
        labels = sorted({pictures[at].label for at in group})
        if len(labels) > 1:
            names = " and ".join(repr(classes[label]) for label in labels)
            for at in group:
                left_out[at] = LeftOut(paths[at], "ambiguous", f"the same picture is in the classes {names}")
            continue
        used.append(first)
        for at in others:
            left_out[at] = LeftOut(paths[at], "duplicate", f"the same picture as {paths[first]}")
    return np.array(sorted(used), np.int64), tuple(left_out[at] for at in sorted(left_out))
