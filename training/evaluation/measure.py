"""What a network is worth on labelled images, in figures."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.record import Calibration
from pigeonhole.models.scores import confidences, likeliest, marked, review_scores
from training.evaluation.calibrate import Bin, expected_calibration_error, negative_log_likelihood, reliability

_Z = 1.959964  # of the normal distribution: 95% lie within


@dataclass(frozen=True)
class Reliability:
    """How far confidence can be believed.

    Args:
        confidence: Of each image, float64 [N] in 0…1.
        nll: Mean negative log-likelihood in nats.
        bins: Of equal mass, by confidence.
    """

    confidence: Tensor
    nll: float
    bins: tuple[Bin, ...]

    @property
    def ece(self) -> float:
        """Expected calibration error, 0…1, over the bins."""
        return expected_calibration_error(self.bins)


@dataclass(frozen=True)
class Report:
    """What a network said of N labelled images.

    Args:
        classes: Labels, in the order of the logits.
        truths: int64 [N], indices of the classes.
        answers: int64 [N], likewise.
        before: Its reliability as it comes.
        after: The same after calibration, which decides.
        review_scores: Of each image, float64 [N] in 0…1.
        review_below: The review score below which an image is marked.
    """

    classes: tuple[str, ...]
    truths: Tensor
    predictions: Tensor
    before: Reliability
    after: Reliability
    review_scores: Tensor
    review_below: float

    @cached_property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Of each true class, by row, how many images were given each label, by column."""
        size = len(self.classes)
        counts = torch.bincount(self.truths * size + self.predictions, minlength=size**2)
        return tuple(tuple(row) for row in counts.reshape(size, size).tolist())

    @cached_property
    def wrong(self) -> Tensor:
        """Which images were given another label than their own, bool [N]."""
        return self.predictions != self.truths

    @cached_property
    def marked(self) -> Tensor:
        """Which images are marked for review, bool [N]."""
        return torch.from_numpy(marked(self.review_scores.numpy(), self.review_below))

    @property
    def images(self) -> int:
        """How many images."""
        return len(self.truths)

    @property
    def right(self) -> int:
        """How many of them got their own label."""
        return self.images - int(self.wrong.sum())

    @property
    def accuracy(self) -> float:
        """The share that is right, 0…1."""
        return self.right / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95% Wilson interval."""
        return wilson(self.right, self.images)

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood in nats, after calibration."""
        return self.after.nll

    @property
    def ece(self) -> float:
        """Expected calibration error, 0…1, after calibration."""
        return self.after.ece

    @property
    def reviews(self) -> int:
        """Images marked for review."""
        return int(self.marked.sum())

    @property
    def wrong_unmarked(self) -> int:
        """Images that are wrong and not marked."""
        return int((self.wrong & ~self.marked).sum())

    def worst(self, limit: int) -> list[int]:
        """Where in the images those are that it is wrong of, the surest first; `limit` at most."""
        wrong = self.wrong.nonzero().flatten()  # int64 [n]
        order = self.after.confidence[wrong].argsort(descending=True, stable=True)
        return [int(index) for index in wrong[order][:limit]]

    def confused(self, limit: int) -> list[tuple[str, str, int]]:
        """The true class, the label given and how often, most often first; `limit` at most."""
        pairs = [
            (truth, predicted, count)
            for truth, row in zip(self.classes, self.confusion, strict=True)
            for predicted, count in zip(self.classes, row, strict=True)
            if count and truth != predicted
        ]
        return sorted(pairs, key=lambda pair: -pair[2])[:limit]

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
            "before_calibration": {"nll": self.before.nll, "ece": self.before.ece},
            "reviews": self.reviews,
            "wrong_unmarked": self.wrong_unmarked,
        }


@dataclass(frozen=True)
class Evaluated:
    """A checkpoint on labelled images.

    Args:
        checkpoint: Its description.
        source: What the images are, for people: "MNIST's test images".
        report: What came of it.
        images: uint8 [N, H, W, C], as the network saw them.
        names: Of each image: its path, or its number.
        failed: Path and error of each file that could not be read.
        note: Notice or warning that belongs in the first line; empty for none.
    """

    checkpoint: Checkpoint
    source: str
    report: Report
    images: Tensor
    names: tuple[str, ...]
    failed: tuple[tuple[str, str], ...] = ()
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """All figures, the matrix, the bins and all mistakes, the surest first, as plain JSON values."""
        report, confidence = self.report, self.report.after.confidence
        mistakes = [
            {
                "image": self.names[index],
                "truth": report.classes[report.truths[index]],
                "given": report.classes[report.predictions[index]],
                "confidence": float(confidence[index]),
                "review": bool(report.marked[index]),
            }
            for index in report.worst(report.images)
        ]
        return {
            "checkpoint": {"name": self.checkpoint.name, "digest": self.checkpoint.digest},
            "source": self.source,
            "note": self.note,
            **report.to_json(),
            "classes": list(report.classes),
            "confusion": [list(row) for row in report.confusion],
            "reliability": [asdict(part) for part in report.after.bins],
            "mistakes": mistakes,
            "failed": [{"path": path, "error": error} for path, error in self.failed],
        }


def measure(logits: Tensor, truths: Tensor, classes: Sequence[str], calibration: Calibration) -> Report:
    """Compare what a network said with what is true.

    Args:
        logits: float32 [N, L], N at least 1; L is the number of classes, or one more.
        truths: int64 [N], indices of the classes.
        classes: Their names.
        calibration: Of the checkpoint.

    Returns:
        The figures.
    """
    values = logits.numpy()
    predicted = torch.from_numpy(likeliest(values, len(classes)))

    def reliability_with(by: Calibration) -> Reliability:
        confidence = torch.from_numpy(confidences(values, by, len(classes)))
        return Reliability(
            confidence, negative_log_likelihood(logits, truths, by), reliability(confidence, predicted == truths)
        )

    return Report(
        tuple(classes),
        truths,
        predicted,
        reliability_with(Calibration(outlier=calibration.outlier)),
        reliability_with(calibration),
        torch.from_numpy(review_scores(values, calibration, len(classes))),
        calibration.review_below,
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
