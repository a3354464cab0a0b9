"""From logits to confidence: a temperature, and the confidence under which a person should look.

C. Guo et al., "On Calibration of Modern Neural Networks", 2017: one temperature, fitted on data that was not
trained on, mends most of what is wrong with a network's confidence, and changes no label.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.record import Calibration

REVIEW_BUDGET = 0.01  # the share of images that may be marked for review, counted on the validation split

_NARROWEST, _WIDEST = 0.05, 20.0  # temperatures to look between
_GOLDEN = (math.sqrt(5) - 1) / 2
_ROUNDS = 60  # of the search: each narrows it to 0.62, so all of them to less than a float's precision


def calibrate(logits: Tensor, labels: Tensor, review_budget: float = REVIEW_BUDGET) -> Calibration:
    """Fit the temperature, then set the threshold of review.

    Args:
        logits: float32 [N, classes], of images that were not trained on.
        labels: int64 [N].
        review_budget: The largest share of them, 0…1, that may be marked.

    Returns:
        The calibration.
    """
    temperature = _temperature(logits.double(), labels)
    confidence = confidences(logits, temperature).sort().values  # float64 [N], rising
    marked = min(int(review_budget * len(confidence)), len(confidence) - 1)
    # What is below the threshold is marked: the first `marked` images, fewer where several are alike.
    return Calibration(temperature, min(1.0, float(confidence[marked])))


def confidences(logits: Tensor, temperature: float) -> Tensor:
    """The probability of the likeliest class: logits [N, classes] → float64 [N] in 0…1."""
    return functional.softmax(logits.double() / temperature, dim=1).amax(dim=1)


def _temperature(logits: Tensor, labels: Tensor) -> float:
    """Minimise the negative log-likelihood, which has one minimum in 1 / temperature, by golden section."""

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits / math.exp(log_temperature), labels))

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


def expected_calibration_error(logits: Tensor, labels: Tensor, temperature: float, bins: int = 15) -> float:
    """The mean distance between confidence and accuracy over bins of equal mass.

    Args:
        logits: float32 [N, classes].
        labels: int64 [N].
        temperature: What the logits are divided by.
        bins: How many.

    Returns:
        0…1, weighted by the bins' sizes.
    """
    confidence, order = confidences(logits, temperature).sort()
    right = (logits.argmax(dim=1) == labels).double()[order]
    parts = zip(confidence.tensor_split(bins), right.tensor_split(bins), strict=True)
    gaps = [float((sure.mean() - true.mean()).abs()) * len(sure) for sure, true in parts if len(sure)]
    return sum(gaps) / len(confidence)


def negative_log_likelihood(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Mean negative log-likelihood in nats: logits [N, classes], labels int64 [N]."""
    return float(functional.cross_entropy(logits.double() / temperature, torch.as_tensor(labels)))
