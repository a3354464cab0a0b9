"""The results of the images of a batch, collected chunk by chunk."""

from array import array
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pigeonhole.ledger.wire.messages import Answers, Chosen
from pigeonhole.limits import TOP
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.scores import Labels, Scores
from pigeonhole.sources.reference import Identity


class Collected:
    """Collects the results of one batch.

    Args:
        classifier: the model.
        images: the number of images of the batch: N.
        top: the number of most probable classes in each row.
    """

    def __init__(self, classifier: Classifier, images: int, top: int = TOP) -> None:
        shape = (images, min(top, len(classifier.checkpoint.classes)))
        self._classifier, self.top = classifier, top
        self._best: NDArray[np.uint16] = np.zeros(shape, np.uint16)  # [N, K]
        self._ppm: NDArray[np.uint32] = np.zeros(shape, np.uint32)  # [N, K]
        self._review: NDArray[np.bool_] = np.zeros(images, np.bool_)  # [N]
        self._counts: NDArray[np.uint16] = np.zeros(images, np.uint16)  # [N]: labels of a multi-label model
        self._labels: list[Labels] = []
        self._unknown: NDArray[np.uint32] = np.zeros(images, np.uint32)  # [N]
        self._identities = array("Q", bytes(8 * images))
        self._errors: dict[int, tuple[str, str]] = {}

    def score(self, at: NDArray[np.intp], scores: Scores) -> None:
        """Add the scores of some images.

        Args:
            at: positions of the images in the batch, in the order of the scores; they increase from call to call.
            scores: the scores, one for each position.
        """
        self._best[at], self._ppm[at], self._review[at] = scores.best, scores.ppm, scores.review
        if scores.unknown is not None:
            self._unknown[at] = scores.unknown
        if scores.labels is not None:
            self._counts[at] = scores.labels.counts
            self._labels.append(scores.labels)

    def identify(self, identities: Mapping[int, Identity]) -> None:
        """Add the identities of the files that were read, by position."""
        for position, identity in identities.items():
            self._identities[position] = identity

    def fail(self, position: int, error: tuple[str, str]) -> None:
        """Add the (kind, message) of an image that has no scores."""
        self._errors[position] = error

    def answers(self, images: int) -> Answers:
        """Return the results of the first images; each of them must have scores or an error."""
        calibration = self._classifier.checkpoint.calibration
        return Answers(
            model=self._classifier.identity,
            labels=self._classifier.checkpoint.classes,
            images=images,
            top=self._best.shape[1],
            best=array("H", self._best[:images].tobytes()),
            ppm=array("I", self._ppm[:images].tobytes()),
            review=frozenset(np.flatnonzero(self._review).tolist()),
            errors=self._errors,
            runtime=self._classifier.runtime.kind,
            identities=self._identities[:images],
            chosen=self._chosen(images),
            unknown=array("I", self._unknown[:images].tobytes() if calibration.outlier else b""),
        )

    def _chosen(self, images: int) -> Chosen | None:
        """Return the labels of the first images; None if the model is not multi-label."""
        if self._classifier.checkpoint.calibration.thresholds is None:
            return None
        best = [np.zeros(0, np.uint16), *(labels.best.astype(np.uint16) for labels in self._labels)]
        ppm = [np.zeros(0, np.uint32), *(labels.ppm.astype(np.uint32) for labels in self._labels)]
        return Chosen(
            array("H", self._counts[:images].tobytes()),
            array("H", np.concatenate(best).tobytes()),
            array("I", np.concatenate(ppm).tobytes()),
        )
