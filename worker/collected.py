"""What becomes of the images of a batch, collected as it comes."""

from array import array

import numpy as np
from numpy.typing import NDArray

from pigeonhole.ledger.messages import TOP, Answers
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.classifier import answers_as
from pigeonhole.models.scores import Scores


class Collected:
    """The answers to one batch, in the making.

    Args:
        about: the checkpoint that answers.
        images: how many there are: N.
    """

    def __init__(self, about: Checkpoint, images: int) -> None:
        shape = (images, min(TOP, len(about.classes)))
        self._about = about
        self._best: NDArray[np.uint16] = np.zeros(shape, np.uint16)  # [N, K]
        self._ppm: NDArray[np.uint32] = np.zeros(shape, np.uint32)  # [N, K]
        self._review: NDArray[np.bool_] = np.zeros(images, np.bool_)  # [N]
        self._errors: dict[int, tuple[str, str]] = {}

    def score(self, at: NDArray[np.intp], scores: Scores) -> None:
        """Take what the network says of some images.

        Args:
            at: their positions in the batch, in the order of the scores.
            scores: one for each.
        """
        self._best[at], self._ppm[at], self._review[at] = scores.best, scores.ppm, scores.review

    def fail(self, position: int, error: tuple[str, str]) -> None:
        """Take the (kind, message) of an image that has no scores."""
        self._errors[position] = error

    def answers(self) -> Answers:
        """Give the answers; what was neither scored nor failed must not be."""
        images, top = self._best.shape
        return Answers(
            model=answers_as(self._about),
            labels=self._about.classes,
            images=images,
            top=top,
            best=array("H", self._best.tobytes()),
            ppm=array("I", self._ppm.tobytes()),
            review=frozenset(np.flatnonzero(self._review).tolist()),
            errors=self._errors,
        )
