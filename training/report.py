"""What a network is worth on labelled images: figures, and the same as text for a terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.calibrate import confidences, expected_calibration_error, negative_log_likelihood
from training.record import Calibration

_Z = 1.959964  # of the normal distribution: 95% lie within


@dataclass(frozen=True)
class Report:
    """What a network came to on labelled images.

    Args:
        classes: Labels, in the order of the matrix.
        confusion: Of each true class, by row, how many images were given each label, by column.
        nll: Mean negative log-likelihood in nats, after the temperature.
        ece: Expected calibration error, 0…1, over 15 bins of equal mass.
        reviews: Images marked for review.
        wrong_unmarked: Images that are wrong and not marked.
    """

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    nll: float
    ece: float
    reviews: int
    wrong_unmarked: int

    @property
    def images(self) -> int:
        """How many images."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """How many of them got their own label."""
        return sum(row[index] for index, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share that is right, 0…1."""
        return self.right / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95% Wilson interval."""
        return wilson(self.right, self.images)

    def to_json(self) -> dict[str, Any]:
        """The figures, without the matrix, as plain JSON values."""
        low, high = self.interval
        return {
            "images": self.images,
            "errors": self.images - self.right,
            "accuracy": self.accuracy,
            "interval": [low, high],
            "nll": self.nll,
            "ece": self.ece,
            "reviews": self.reviews,
            "wrong_unmarked": self.wrong_unmarked,
        }


def measure(logits: Tensor, labels: Tensor, classes: Sequence[str], calibration: Calibration) -> Report:
    """Compare what a network said with what is true.

    Args:
        logits: float32 [N, classes], N at least 1.
        labels: int64 [N].
        classes: Their names.
        calibration: Of the checkpoint.

    Returns:
        The figures.
    """
    said = logits.argmax(dim=1)
    counts = torch.bincount(labels * len(classes) + said, minlength=len(classes) ** 2)
    marked = confidences(logits, calibration.temperature) < calibration.review_below
    return Report(
        classes=tuple(classes),
        confusion=tuple(tuple(row) for row in counts.reshape(len(classes), -1).tolist()),
        nll=negative_log_likelihood(logits, labels, calibration.temperature),
        ece=expected_calibration_error(logits, labels, calibration.temperature),
        reviews=int(marked.sum()),
        wrong_unmarked=int(((said != labels) & ~marked).sum()),
    )


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95% interval of a share (E. B. Wilson, 1927), which holds near 100% where the usual one does not.

    Args:
        right: How many are.
        images: Of how many, at least 1.

    Returns:
        Its ends, each 0…1.
    """
    share, weight = right / images, _Z * _Z / images
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / images + weight / (4 * images)) / (1 + weight)
    # At 0 and 1 the ends are exact, and rounding must not put them outside.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def summary(report: Report) -> str:
    """One line: "99.55% right of 10,000 images (95% interval 99.40 to 99.66%)"."""
    low, high = report.interval
    return (
        f"{report.accuracy:.2%} right of {report.images:,} images (95% interval {100 * low:.2f} to {100 * high:.2f}%)"
    )


def text(report: Report) -> str:
    """The whole report for a terminal, several lines."""
    wrong = report.images - report.right
    kept = report.images - report.reviews
    lines = [
        summary(report),
        f"wrong: {wrong:,}; marked for review: {report.reviews:,} ({report.reviews / report.images:.2%}), "
        f"wrong among the {kept:,} others: {report.wrong_unmarked:,}",
        f"negative log-likelihood {report.nll:.4f}, expected calibration error {report.ece:.2%}",
        "",
        *_matrix(report),
    ]
    return "\n".join(lines)


def _matrix(report: Report) -> list[str]:
    width = max(len(f"{max(map(max, report.confusion)):,}"), *map(len, report.classes), 2) + 1
    left = max(4, *map(len, report.classes))
    lines = [f"{'true':<{left}}  {'read as':<{width}}", " " * left + " " + _line(report.classes, width)]
    for label, row in zip(report.classes, report.confusion, strict=True):
        # A dot for 0, so that what is off the diagonal stands out.
        cells = [f"{count:,}" if count else "·" for count in row]
        lines.append(f"{label:<{left}} " + _line(cells, width))
    return [line.rstrip() for line in lines]


def _line(cells: Sequence[str], width: int) -> str:
    return "".join(f"{cell:>{width}}" for cell in cells)
