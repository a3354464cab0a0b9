"""Logits → the result of an image: the best classes, their calibrated probabilities, and whether to review them.

A network may have one more logit than classes, the last, for "unknown". It takes part in the softmax and is never a
label. A multi-label model has a sigmoid for each class in place of the softmax, and every class that reaches its
threshold is a label. Workers and evaluation share this module; it needs numpy only, whatever ran the network.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pigeonhole.limits import MOST_LABELS, PPM
from pigeonhole.models.record import Calibration

#: With this many classes or fewer, sorting all of them costs less than looking for the best first.
_SORTED_WHOLE = 64


class Labels(NamedTuple):
    """The labels of N images by a multi-label model: M in all.

    Args:
        counts: int64 [N], how many labels each image has: 0 to `MOST_LABELS`.
        best: int64 [M], their classes, image by image, each image's most probable first.
        ppm: int64 [M], their probabilities in millionths.
    """

    counts: NDArray[np.int64]
    best: NDArray[np.int64]
    ppm: NDArray[np.int64]


class Scores(NamedTuple):
    """The results of N images.

    Args:
        best: int64 [N, K], indices of the K most probable classes, best first.
        ppm: int64 [N, K], their calibrated probabilities in millionths.
        review: bool [N], whether a person should look, by the calibration's threshold.
        labels: of a multi-label model; None: the best class is the label.
        unknown: int64 [N], the probability of "unknown" in millionths, weighted as in the review score; None without a
            logit for it.
    """

    best: NDArray[np.int64]
    ppm: NDArray[np.int64]
    review: NDArray[np.bool_]
    labels: Labels | None = None
    unknown: NDArray[np.int64] | None = None


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
    if calibration.thresholds is not None:
        return Scores(best, ppm, *_by_thresholds(known, calibration.thresholds, calibration.review_below))
    review = marked(calibration.review_score(probabilities[:, 0], unknown), calibration.review_below)
    return Scores(best, ppm, review, unknown=_ppm(calibration.unknown(unknown)) if calibration.outlier else None)


def marked(found: NDArray[np.float64], review_below: float) -> NDArray[np.bool_]:
    """Return which images are marked for review by their review scores: float64 [N] in 0…1 → bool [N]."""
    below: NDArray[np.bool_] = _ppm(found) < round(review_below * PPM)
    return below


def likeliest(logits: NDArray[np.float32], classes: int) -> NDArray[np.int64]:
    """Return the index of the most probable class: float32 [N, L] → int64 [N]."""
    found: NDArray[np.int64] = logits[:, :classes].argmax(axis=1)
    return found


def confidences(logits: NDArray[np.float32], calibration: Calibration, classes: int) -> NDArray[np.float64]:
    """Return the calibrated probability of the most probable class: float32 [N, L] → float64 [N] in 0…1."""
    known, unknown = _probabilities(logits, calibration, classes)
    found: NDArray[np.float64] = calibration.confidence(known.max(axis=1), unknown)
    return found


def probabilities(logits: NDArray[np.float32], calibration: Calibration, classes: int) -> NDArray[np.float64]:
    """Return the calibrated probability of each class: float32 [N, L] → float64 [N, classes] in 0…1."""
    known, unknown = _probabilities(logits, calibration, classes)
    found: NDArray[np.float64] = calibration.confidence(known, unknown[:, None])
    return found


def same_labels(
    one: NDArray[np.float32], other: NDArray[np.float32], calibration: Calibration, classes: int
) -> NDArray[np.bool_]:
    """Return for which images two runs have the same label, or all the same labels: float32 [N, L] twice → bool [N]."""
    thresholds = calibration.thresholds
    if thresholds is None:
        same: NDArray[np.bool_] = likeliest(one, classes) == likeliest(other, classes)
        return same
    first, second = (
        _above(_probabilities(logits, calibration, classes)[0], thresholds) >= 0 for logits in (one, other)
    )
    all_same: NDArray[np.bool_] = (first == second).all(axis=1)
    return all_same


def review_scores(logits: NDArray[np.float32], calibration: Calibration, classes: int) -> NDArray[np.float64]:
    """Return what is compared with `Calibration.review_below`: float32 [N, L] → float64 [N] in 0…1."""
    known, unknown = _probabilities(logits, calibration, classes)
    if calibration.thresholds is not None:
        nearest: NDArray[np.float64] = np.abs(known - np.array(calibration.thresholds)).min(axis=1)
        return nearest
    found: NDArray[np.float64] = calibration.review_score(known.max(axis=1), unknown)
    return found


def _probabilities(
    logits: NDArray[np.float32], calibration: Calibration, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of the classes, [N, classes], and of unknown, [N]; 0 without a logit for it."""
    scaled = logits.astype(np.float64) / calibration.temperature
    if calibration.thresholds is not None:
        return np.exp(-np.logaddexp(0, -scaled)), np.zeros(len(scaled))  # the sigmoid, without overflow
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled[:, :classes], scaled[:, classes:].sum(axis=1)


def _by_thresholds(
    known: NDArray[np.float64], thresholds: Sequence[float], review_below: float
) -> tuple[NDArray[np.bool_], Labels]:
    """Return which images a person should look at, [N], and the labels of all: the classes that reach their thresholds.

    Args:
        known: [N, classes], their probabilities.
        thresholds: of each class, 0…1.
        review_below: the distance of the nearest probability from its threshold, below which a person should look.
    """
    above = _above(known, thresholds)
    images, classes = np.nonzero(above >= 0)  # [M], image by image, and class by class
    order = np.lexsort((-known[images, classes], images))  # stable: of equals, the first class comes first
    images, classes = images[order], classes[order]
    counts = np.bincount(images, minlength=len(known))
    rank = np.arange(len(images)) - (np.cumsum(counts) - counts)[images]
    images, classes = images[rank < MOST_LABELS], classes[rank < MOST_LABELS]
    labels = Labels(np.minimum(counts, MOST_LABELS), classes, _ppm(known[images, classes]))
    return np.abs(above).min(axis=1) < round(review_below * PPM), labels


def _above(known: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return how far each probability is above its threshold, in millionths: [N, classes]."""
    return _ppm(known) - _ppm(np.array(thresholds))


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
