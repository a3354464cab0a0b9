"""What becomes of pictures that are none of the classes: each should be marked for review, or be no picture at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pigeonhole.models.record import Checkpoint
from pigeonhole.models.scores import marked, review_scores


@dataclass(frozen=True)
class Kind:
    """One kind of such pictures.

    Args:
        name: Of its folder.
        marked: How many are marked for review.
        unmarked: How many are given a label and not marked.
        blank: How many are an error row, since preprocessing finds nothing in them to look at.
    """

    name: str
    marked: int
    unmarked: int
    blank: int

    @property
    def images(self) -> int:
        """How many there are."""
        return self.marked + self.unmarked + self.blank

    @property
    def caught(self) -> int:
        """How many don't pass for one of the classes."""
        return self.marked + self.blank

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
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
    """Count what is caught of each kind, at the checkpoint's own threshold.

    Args:
        logits: float32 [N, L].
        kinds: int64 [N], indices of the names.
        names: Of the kinds.
        blank: The kind's name for each picture that came out blank.
        checkpoint: Whose logits these are.

    Returns:
        The kinds of which there are any pictures, in the order of `names`.
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
