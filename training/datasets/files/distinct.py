"""The pictures to train on: those that can be read, each once, and of one class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import ImageError
from pigeonhole.files import shown

TRAINING, VALIDATION, TEST = "training", "validation", "test"
# A picture that is in several parts stays in the first of these: the measured images stay complete.
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
        path: Of the file, as text that any output takes.
        reason: "unreadable", "duplicate" or "ambiguous": in several classes.
        detail: What is wrong with it, or the files that it is the same as.
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

    Two pictures are the same if the network sees the same pixels: copies are, also in another lossless format.

    Args:
        pictures: N files.
        classes: Names of their labels.
        digests: uint8 [N, D], digests of the pixels.
        failed: Index of a file that could not be read → why.

    Returns:
        Indices of the used pictures, int64 [n], rising; and the other files.
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
