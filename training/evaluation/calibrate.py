"""Calibration: a temperature that turns logits into confidence, and the review score below which a person checks.

One temperature, fitted on images that were not trained on, corrects most of a network's overconfidence and changes no
label (C. Guo et al., "On Calibration of Modern Neural Networks", 2017). A scale or a shift for each class has too many
parameters for some thousands of images, nearly all of them right; on new images it does far worse.

A network may have one more logit than classes, for "unknown". It takes part in the softmax, so that an
out-of-distribution image leaves little probability to the classes; it is never the label. Its right weight depends on
how common such images are (`Calibration.confidence`). Confidence assumes images like those of the validation split,
where they are rare. The review score assumes that they are common.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor
from torch.nn import functional

from pigeonhole.models.record import Calibration
from pigeonhole.models.scores import review_scores
from training.configuration import REVIEW_BUDGET

# Assumed frequency of out-of-distribution images, as a multiple of their frequency in training.
# Confidence: rare, not impossible; a smaller value changes the likelihood of validation images by 2% at most.
# Review: chosen among 1 to 1,000, by the share of them that is marked against unmarked mistakes (docs/experiments.md).
OUTLIER_IN_CONFIDENCE = 0.0001
OUTLIER_IN_REVIEW = 30.0
BINS = 15

_SPREAD = 1.0  # standard deviation of the prior on log(temperature), whose mean is 0
_SIGNIFICANCE = 0.05  # probability that new images exceed the budget
_NARROWEST, _WIDEST = 0.05, 20.0  # range of temperatures that is searched
_GOLDEN = (math.sqrt(5) - 1) / 2
_ROUNDS = 60  # each narrows the range to 0.62 of it: together below a float's precision


def calibrate(logits: Tensor, labels: Tensor, classes: int, review_budget: float = REVIEW_BUDGET) -> Calibration:
    """Fit the temperature, then set the review threshold.

    Args:
        logits: float32 [N, L], of images that were not trained on; L is `classes`, or one more.
        labels: int64 [N], each below `classes`.
        classes: Number of classes.
        review_budget: Largest share of new images, 0…1, that may be marked (`most_marked`).

    Returns:
        The calibration.
    """
    found = Calibration()
    if logits.shape[1] > classes:
        found = Calibration(
            outlier=True, outlier_in_confidence=OUTLIER_IN_CONFIDENCE, outlier_in_review=OUTLIER_IN_REVIEW
        )
    found = replace(found, temperature=_temperature(logits.double(), labels, found))
    scores = np.sort(review_scores(logits.numpy(), found, classes))  # float64 [N], rising
    marked = min(most_marked(len(scores), review_budget), len(scores) - 1)
    # Scores below the threshold are marked: the first `marked` images, or fewer if several scores are equal.
    return replace(found, review_below=min(1.0, float(scores[marked])))


def most_marked(images: int, budget: float) -> int:
    """Return how many of `images` may be marked so that, at 95% confidence, at most `budget` of new images are.

    This is the upper bound of C. Clopper and E. Pearson, 1934, for a share of which k of n were found. The bound is at
    most the budget if and only if a binomial with that share gives k or fewer with a probability of at most 5%. So the
    probabilities are added up, and the bound itself is not computed.

    Args:
        images: Number of images that were scored.
        budget: Share of new images, 0…1.

    Returns:
        The largest such number; 0 if there are too few images to show anything (fewer than 299 for a budget of 1%).
    """
    if budget <= 0:
        return 0
    if budget >= 1:
        return images
    odds = math.log(budget), math.log1p(-budget)
    probability, marked = 0.0, 0
    while True:
        ways = math.lgamma(images + 1) - math.lgamma(marked + 1) - math.lgamma(images - marked + 1)
        probability += math.exp(ways + marked * odds[0] + (images - marked) * odds[1])
        if probability > _SIGNIFICANCE:
            return max(0, marked - 1)
        marked += 1


def negative_log_likelihood(logits: Tensor, labels: Tensor, calibration: Calibration) -> float:
    """Return the mean negative log-likelihood in nats: logits [N, L], labels int64 [N]."""
    scaled = logits.double() / calibration.temperature
    if calibration.outlier:
        # The same weight as in `Calibration.confidence`.
        scaled[:, -1] += math.log(calibration.outlier_in_confidence)
    return float(functional.cross_entropy(scaled, labels))


@dataclass(frozen=True)
class Bin:
    """Images of similar confidence.

    Args:
        images: Number of images.
        confidence: Mean confidence, 0…1.
        accuracy: Share of the images that are right, 0…1.
    """

    images: int
    confidence: float
    accuracy: float


def reliability(confidence: Tensor, right: Tensor, bins: int = BINS) -> tuple[Bin, ...]:
    """Divide images by their confidence into bins of equally many images.

    Args:
        confidence: float64 [N], 0…1.
        right: bool [N], whether each image is right.
        bins: Number of bins; fewer are returned if there are fewer images.

    Returns:
        The bins, in ascending order of confidence.
    """
    scores, order = confidence.sort(stable=True)
    true = right.double()[order]
    parts = zip(scores.tensor_split(bins), true.tensor_split(bins), strict=True)
    return tuple(Bin(len(some), float(some.mean()), float(hits.mean())) for some, hits in parts if len(some))


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the mean distance between confidence and accuracy over bins, weighted by their images: 0…1."""
    return sum(part.images * abs(part.confidence - part.accuracy) for part in bins) / sum(part.images for part in bins)


def _temperature(logits: Tensor, labels: Tensor, calibration: Calibration) -> float:
    """Return the most probable temperature, found by golden-section search.

    The prior weighs as much as one image. Among thousands it has no effect. Among a few, which may all be right, it
    keeps the temperature from falling to the lower end of the range.
    """

    def loss(log_temperature: float) -> float:
        there = replace(calibration, temperature=math.exp(log_temperature))
        unlikelihood = negative_log_likelihood(logits, labels, there)
        return unlikelihood + (log_temperature / _SPREAD) ** 2 / (2 * len(labels))

    low, high = math.log(_NARROWEST), math.log(_WIDEST)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_ROUNDS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    # Six digits: further ones depend on the rounding of sums, which differs between machines.
    return float(f"{math.exp((low + high) / 2):.6g}")
