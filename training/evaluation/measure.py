"""The figures of a network on labelled images: accuracy, confusion matrix, calibration and reviews."""

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

_Z = 1.959964  # standard deviations: 95% of a normal distribution lie within


@dataclass(frozen=True)
class Reliability:
    """The reliability of confidence.

    Args:
        confidence: Confidence of each image, float64 [N] in 0…1.
        nll: Mean negative log-likelihood in nats.
        bins: Bins of equally many images, by confidence.
    """

    confidence: Tensor
    nll: float
    bins: tuple[Bin, ...]

    @property
    def ece(self) -> float:
        """Return the expected calibration error, 0…1, over the bins."""
        return expected_calibration_error(self.bins)


@dataclass(frozen=True)
class Report:
    """The predictions of a network for N labelled images.

    Args:
        classes: Names of the classes, in the order of the logits.
        truths: int64 [N], indices of the true classes.
        predictions: int64 [N], indices of the predicted classes.
        before: Reliability without calibration.
        after: Reliability with calibration.
        review_scores: Review score of each image, float64 [N] in 0…1.
        review_below: Review score below which an image is marked.
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
        """Return the number of images of each true class, by row, with each predicted label, by column."""
        size = len(self.classes)
        counts = torch.bincount(self.truths * size + self.predictions, minlength=size**2)
        return tuple(tuple(row) for row in counts.reshape(size, size).tolist())

    @cached_property
    def wrong(self) -> Tensor:
        """Return whether each image has a wrong label, bool [N]."""
        return self.predictions != self.truths

    @cached_property
    def marked(self) -> Tensor:
        """Return whether each image is marked for review, bool [N]."""
        return torch.from_numpy(marked(self.review_scores.numpy(), self.review_below))

    @property
    def images(self) -> int:
        """Return the number of images."""
        return len(self.truths)

    @property
    def right(self) -> int:
        """Return the number of images with the right label."""
        return self.images - int(self.wrong.sum())

    @property
    def accuracy(self) -> float:
        """Return the share of images with the right label, 0…1."""
        return self.right / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% Wilson interval of the accuracy."""
        return wilson(self.right, self.images)

    @property
    def nll(self) -> float:
        """Return the mean negative log-likelihood in nats, after calibration."""
        return self.after.nll

    @property
    def ece(self) -> float:
        """Return the expected calibration error, 0…1, after calibration."""
        return self.after.ece

    @property
    def reviews(self) -> int:
        """Return the number of images marked for review."""
        return int(self.marked.sum())

    @property
    def wrong_unmarked(self) -> int:
        """Return the number of images that are wrong and not marked."""
        return int((self.wrong & ~self.marked).sum())

    def worst(self, limit: int) -> list[int]:
        """Return the indices of at most `limit` wrong images, the most confident first."""
        wrong = self.wrong.nonzero().flatten()  # int64 [n]
        order = self.after.confidence[wrong].argsort(descending=True, stable=True)
        return [int(index) for index in wrong[order][:limit]]

    def confused(self, limit: int) -> list[tuple[str, str, int]]:
        """Return at most `limit` pairs of true class and wrong label with their number, the most frequent first."""
        pairs = [
            (truth, predicted, count)
            for truth, row in zip(self.classes, self.confusion, strict=True)
            for predicted, count in zip(self.classes, row, strict=True)
            if count and truth != predicted
        ]
        return sorted(pairs, key=lambda pair: -pair[2])[:limit]

    def to_json(self) -> dict[str, Any]:
        """Return the figures without the matrix as plain JSON values."""
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
    """The evaluation of a checkpoint on labelled images.

    Args:
        checkpoint: Description of the checkpoint.
        source: Description of the images for people: "MNIST's test images".
        report: Figures of the checkpoint.
        images: uint8 [N, H, W, C], the input of the network.
        names: Name of each image: its path, or its number.
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
        """Return figures, matrix, bins and all mistakes as plain JSON values, the most confident mistake first."""
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
    """Compare the predictions of a network with the true labels.

    Args:
        logits: float32 [N, L], N at least 1; L is the number of classes, or one more.
        truths: int64 [N], indices of the true classes.
        classes: Names of the classes.
        calibration: Calibration of the checkpoint.

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
    """Return the 95% interval of a share (E. B. Wilson, 1927), which is correct near 100%, unlike the normal one.

    Args:
        right: Number of right images.
        images: Number of all images, at least 1.

    Returns:
        Both ends of the interval, each 0…1.
    """
    share, weight = right / images, _Z * _Z / images
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / images + weight / (4 * images)) / (1 + weight)
    # The interval contains the share; rounding must not exclude a share of 0 or 1.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))
