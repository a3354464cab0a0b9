"""Logits → results of images: the most probable classes, their calibrated probabilities, and the review mark.

A network may have one more logit than classes, the last one, for "unknown". It is part of the softmax, but never a
label. A multi-label model has a sigmoid for each class in place of the softmax, and every class that reaches its
threshold is a label. Workers and evaluation share this module. It needs numpy only, for every runtime.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pigeonhole.limits import MOST_LABELS, PPM
from pigeonhole.models.record import Calibration

#: Up to this number of classes, sorting all of them is faster than a partial sort.
_SORTED_WHOLE = 64


class Labels(NamedTuple):
    """The labels of N images by a multi-label model, M labels in total.

    Args:
        counts: int64 [N], the number of labels of each image: 0 to `MOST_LABELS`.
        best: int64 [M], the indices of the labels' classes, image by image, most probable first.
        ppm: int64 [M], the probabilities of the labels, in millionths.
    """

    counts: NDArray[np.int64]
    best: NDArray[np.int64]
    ppm: NDArray[np.int64]


class Scores(NamedTuple):
    """The results of N images.

    Args:
        best: int64 [N, K], the indices of the K most probable classes, most probable first.
        ppm: int64 [N, K], the calibrated probabilities of these classes, in millionths.
        review: bool [N], whether an image is marked for review, by the calibration.
        labels: the labels by a multi-label model; None: the most probable class is the label.
        unknown: int64 [N], the probability of "unknown" (`Calibration.unknown`), in millionths; None without a logit
            for it.
    """

    best: NDArray[np.int64]
    ppm: NDArray[np.int64]
    review: NDArray[np.bool_]
    labels: Labels | None = None
    unknown: NDArray[np.int64] | None = None


def score(logits: NDArray[np.float32], calibration: Calibration, classes: int, top: int) -> Scores:
    """Return the results of N images.

    Args:
        logits: float32 [N, L], where L is `classes`, or one more with a logit for "unknown".
        calibration: the model's calibration.
        classes: the number of classes.
        top: K, the number of most probable classes to return; fewer if there are fewer classes.
    """
    known, unknown = _probabilities(logits, calibration, classes)
    best = _largest(known, min(top, classes))  # int64 [N, K]
    probabilities = np.take_along_axis(known, best, axis=1)
    # Rows show rounded numbers, so the review mark must follow from rounded numbers.
    ppm = _ppm(calibration.confidence(probabilities, unknown[:, None]))
    if calibration.thresholds is not None:
        return Scores(best, ppm, *_by_thresholds(known, calibration.thresholds, calibration.review_below))
    review = marked(calibration.review_score(probabilities[:, 0], unknown), calibration.review_below)
    return Scores(best, ppm, review, unknown=_ppm(calibration.unknown(unknown)) if calibration.outlier else None)


def marked(found: NDArray[np.float64], review_below: float) -> NDArray[np.bool_]:
    """Return which images are marked for review.

    Args:
        found: float64 [N], the review scores, 0…1.
        review_below: the limit, 0…1; scores below it are marked.

    Returns:
        bool [N].
    """
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
    """Return the images for which two runs have exactly the same labels: bool [N].

    Args:
        one: float32 [N, L], the logits of one run.
        other: float32 [N, L], the logits of the other run.
        calibration: the calibration for both.
        classes: the number of classes.
    """
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
    """Return the review scores, which are compared with `Calibration.review_below`: float32 [N, L] → float64 [N]."""
    known, unknown = _probabilities(logits, calibration, classes)
    if calibration.thresholds is not None:
        nearest: NDArray[np.float64] = np.abs(known - np.array(calibration.thresholds)).min(axis=1)
        return nearest
    found: NDArray[np.float64] = calibration.review_score(known.max(axis=1), unknown)
    return found


def _probabilities(
    logits: NDArray[np.float32], calibration: Calibration, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of the classes, [N, classes], and of "unknown", [N]; 0 without a logit for it."""
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
    """Return which images are marked for review, [N], and the labels: the classes that reach their thresholds.

    Args:
        known: [N, classes], the probabilities of the classes.
        thresholds: the threshold of each class, 0…1.
        review_below: an image is marked if a probability is nearer to its threshold than this.
    """
    above = _above(known, thresholds)
    images, classes = np.nonzero(above >= 0)  # [M] each, ordered by image, then by class
    order = np.lexsort((-known[images, classes], images))  # stable: of equal probabilities, the first class comes first
    images, classes = images[order], classes[order]
    counts = np.bincount(images, minlength=len(known))
    rank = np.arange(len(images)) - (np.cumsum(counts) - counts)[images]
    images, classes = images[rank < MOST_LABELS], classes[rank < MOST_LABELS]
    labels = Labels(np.minimum(counts, MOST_LABELS), classes, _ppm(known[images, classes]))
    return np.abs(above).min(axis=1) < round(review_below * PPM), labels


def _above(known: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return each probability minus its threshold, in millionths: [N, classes]."""
    return _ppm(known) - _ppm(np.array(thresholds))


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the positions of the largest values in each row, largest first, ties in order: [N, count]."""
    width = values.shape[1]
    if width <= _SORTED_WHOLE:
        return np.argsort(-values, axis=1, kind="stable")[:, :count]
    some = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def _ppm(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    return (probabilities * PPM).round().astype(np.int64)
