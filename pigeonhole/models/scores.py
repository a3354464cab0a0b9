"""Logits → the result of an image: the best classes, their calibrated probabilities, and whether to review them.

A network may have one more logit than classes, the last, for "unknown". It takes part in the softmax and is never a
label. Workers and evaluation share this module; it needs numpy only, whatever ran the network.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pigeonhole.limits import PPM
from pigeonhole.models.record import Calibration

#: With this many classes or fewer, sorting all of them costs less than looking for the best first.
_SORTED_WHOLE = 64


class Scores(NamedTuple):
    """The results of N images.

    Args:
        best: int64 [N, K], indices of the K most probable classes, best first.
        ppm: int64 [N, K], their calibrated probabilities in millionths.
        review: bool [N], whether a person should look, by the calibration's threshold.
    """

    best: NDArray[np.int64]
    ppm: NDArray[np.int64]
    review: NDArray[np.bool_]


def score(logits: NDArray[np.float32], calibration: Calibration, classes: int, top: int) -> Scores:
    """Return the best classes of each image.

    Args:
        logits: float32 [N, L], L being `classes`, or one more.
        calibration: of the model.
        classes: how many classes there are.
        top: K, how many of them to return; fewer where there are fewer classes.
    """
    known, unknown = _probabilities(logits, calibration, classes)
    best = _largest(known, min(top, classes))  # int64 [N, K]
    probabilities = np.take_along_axis(known, best, axis=1)
    # Rows show rounded numbers, so the decision is made on rounded numbers.
    ppm = _ppm(calibration.confidence(probabilities, unknown[:, None]))
    review_score = _ppm(calibration.review_score(probabilities[:, 0], unknown))
    return Scores(best, ppm, review_score < round(calibration.review_below * PPM))


def likeliest(logits: NDArray[np.float32], classes: int) -> NDArray[np.int64]:
    """Return the index of the most probable class: float32 [N, L] → int64 [N]."""
    found: NDArray[np.int64] = logits[:, :classes].argmax(axis=1)
    return found


def confidences(logits: NDArray[np.float32], calibration: Calibration, classes: int) -> NDArray[np.float64]:
    """Return the calibrated probability of the most probable class: float32 [N, L] → float64 [N] in 0…1."""
    known, unknown = _probabilities(logits, calibration, classes)
    found: NDArray[np.float64] = calibration.confidence(known.max(axis=1), unknown)
    return found


def review_scores(logits: NDArray[np.float32], calibration: Calibration, classes: int) -> NDArray[np.float64]:
    """Return what is compared with `Calibration.review_below`: float32 [N, L] → float64 [N] in 0…1."""
    known, unknown = _probabilities(logits, calibration, classes)
    found: NDArray[np.float64] = calibration.review_score(known.max(axis=1), unknown)
    return found


def _probabilities(
    logits: NDArray[np.float32], calibration: Calibration, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of the classes, [N, classes], and of unknown, [N]; 0 without a logit for it."""
    scaled = logits.astype(np.float64) / calibration.temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled[:, :classes], scaled[:, classes:].sum(axis=1)


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the positions of the largest values of each row, largest first; of equals, the first: [N, count]."""
    width = values.shape[1]
    if width <= _SORTED_WHOLE:
        return np.argsort(-values, axis=1, kind="stable")[:, :count]
    some = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def _ppm(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    return (probabilities * PPM).round().astype(np.int64)
