"""From logits to confidence: a temperature, and the confidence under which a person should look.

C. Guo et al., "On Calibration of Modern Neural Networks", 2017: one temperature, fitted on data that was not
trained on, mends most of what is wrong with a network's confidence, and changes no label. A scale or a shift for each
class has more to fit than some thousands of images, nearly all of them right, can tell: on others it does far worse.

A network may have one logit more than there are classes, for what is none of them. It takes its share in the softmax,
so that a picture of something else leaves little to any class; it is never an answer. How large a share is right hangs
on how common such pictures are (`Calibration.confidence`): the confidence is for pictures as the validation split has
them, nearly all of some class; whether to have a look is decided for a world with many others.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor
from torch.nn import functional

from pigeonhole.models.record import Calibration
from pigeonhole.models.scores import review_scores
from training.configuration import REVIEW_BUDGET

# How common what is no class is taken to be, in units of how common it was in training. In the confidence: rare, not
# impossible; rarer changes the likelihood of validation images by 2% at most. In what is reviewed: chosen among 1 to
# 1,000 by how much of it is marked, and what the classes' own mistakes pay for it (docs/experiments.md has both).
OUTLIER_IN_CONFIDENCE = 0.0001
OUTLIER_IN_REVIEW = 30.0
BINS = 15

_SPREAD = 1.0  # of the temperature's logarithm before anything is known of it, around a temperature of 1
_SIGNIFICANCE = 0.05  # the risk that the budget is passed all the same
_NARROWEST, _WIDEST = 0.05, 20.0  # temperatures to look between
_GOLDEN = (math.sqrt(5) - 1) / 2
_ROUNDS = 60  # of the search: each narrows it to 0.62, so all of them to less than a float's precision


def calibrate(logits: Tensor, labels: Tensor, classes: int, review_budget: float = REVIEW_BUDGET) -> Calibration:
    """Fit the temperature, then set the threshold of review.

    Args:
        logits: float32 [N, L], of images that were not trained on; L is `classes`, or one more.
        labels: int64 [N], each below `classes`.
        classes: How many.
        review_budget: The largest share of new images, 0…1, that may be marked (`most_marked`).

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
    # What is below the threshold is marked: the first `marked` images, fewer where several are alike.
    return replace(found, review_below=min(1.0, float(scores[marked])))


def most_marked(images: int, budget: float) -> int:
    """How many of `images` may be marked so that, at 95% confidence, at most `budget` of new ones like them are.

    The upper bound of C. Clopper and E. Pearson, 1934, on the share that k of n stand for is at most the budget just
    when, if the share were the budget, k or fewer would come with a probability of at most 5%: so it is enough to add
    up that probability, and no bound has to be found.

    Args:
        images: How many were looked at.
        budget: A share, 0…1.

    Returns:
        The largest such number; 0 also where so few images show nothing (fewer than 299, for a budget of 1%).
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
    """Mean negative log-likelihood in nats: logits [N, L], labels int64 [N]."""
    scaled = logits.double() / calibration.temperature
    if calibration.outlier:
        # As `Calibration.confidence` weighs its probability.
        scaled[:, -1] += math.log(calibration.outlier_in_confidence)
    return float(functional.cross_entropy(scaled, labels))


@dataclass(frozen=True)
class Bin:
    """Images of like confidence.

    Args:
        images: How many.
        confidence: Their mean, 0…1.
        accuracy: The share of them that is right, 0…1.
    """

    images: int
    confidence: float
    accuracy: float


def reliability(confidence: Tensor, right: Tensor, bins: int = BINS) -> tuple[Bin, ...]:
    """Divide images into bins of equal mass by their confidence.

    Args:
        confidence: float64 [N].
        right: bool [N].
        bins: How many; fewer come back where there are fewer images.

    Returns:
        The bins, confidence rising.
    """
    scores, order = confidence.sort(stable=True)
    true = right.double()[order]
    parts = zip(scores.tensor_split(bins), true.tensor_split(bins), strict=True)
    return tuple(Bin(len(some), float(some.mean()), float(hits.mean())) for some, hits in parts if len(some))


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """The mean distance between confidence and accuracy over bins, weighted by their images: 0…1."""
    return sum(part.images * abs(part.confidence - part.accuracy) for part in bins) / sum(part.images for part in bins)


def _temperature(logits: Tensor, labels: Tensor, calibration: Calibration) -> float:
    """Find the likeliest temperature by golden section.

    What was thought of it before weighs as much as one image does: nothing among thousands; among a few, all of which
    may be right, it keeps the likeliest from being the smallest there is.
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
    # Six digits: beyond them lies the rounding of the sums, which differs between machines.
    return float(f"{math.exp((low + high) / 2):.6g}")
