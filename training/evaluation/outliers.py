"""The figures of a model on out-of-distribution images: each should be marked for review, or be blank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pigeonhole.models.record import Checkpoint
from pigeonhole.models.scores import marked, review_scores


@dataclass(frozen=True)
class Kind:
    """One kind of out-of-distribution images.

    Args:
        name: Name of its folder.
        marked: Number of images that are marked for review.
        unmarked: Number of images with a label that are not marked.
        blank: Number of images that are an error row, since preprocessing finds them blank.
    """

    name: str
    marked: int
    unmarked: int
    blank: int

    @property
    def images(self) -> int:
        """Return the number of images."""
        return self.marked + self.unmarked + self.blank

    @property
    def caught(self) -> int:
        """Return the number of images that are marked or blank."""
        return self.marked + self.blank

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {
            "kind": self.name,
            "images": self.images,
            "marked": self.marked,
            "blank": self.blank,
            "caught": self.caught / self.images,
        }


def measure(
    logits: Tensor, kinds: Tensor, names: Sequence[str], blank: Sequence[str], checkpoint: Checkpoint
) -> tuple[Kind, ...]:
    """Count the caught images of each kind, at the review threshold of the checkpoint.

    Args:
        logits: float32 [N, L].
        kinds: int64 [N], indices of `names`.
        names: Names of the kinds.
        blank: Name of the kind of each blank image; these have no logits.
        checkpoint: Checkpoint that returned the logits.

    Returns:
        The kinds that have images, in the order of `names`.
    """
    calibration = checkpoint.calibration
    found = review_scores(logits.numpy(), calibration, len(checkpoint.classes))
    doubtful = torch.from_numpy(marked(found, calibration.review_below))
    counts = torch.bincount(2 * kinds + doubtful, minlength=2 * len(names)).reshape(-1, 2).tolist()
    measured = (
        Kind(name, unmarked_and_marked[1], unmarked_and_marked[0], blank.count(name))
        for name, unmarked_and_marked in zip(names, counts, strict=True)
    )
    return tuple(kind for kind in measured if kind.images)
