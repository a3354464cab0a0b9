"""Labelled images as tensors."""

import hashlib
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from training.datasets.files import cache

MNIST_CLASSES = tuple("0123456789")


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Args:
        images: uint8 [N, H, W, C], as `pigeonhole.imaging.preprocess` returns them.
        labels: int64 [N], indices of the classes.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "Split":
        """Return the images at `indices` (int64 [n]), in that order."""
        return Split(self.images[indices], self.labels[indices])

    def counts(self, classes: int) -> list[int]:
        """Return the number of images of each class."""
        return [int(count) for count in self.labels.bincount(minlength=classes)]

    def to(self, device: str) -> "Split":
        """Return the same split on another device."""
        return Split(self.images.to(device), self.labels.to(device))


def digest(split: Split) -> str:
    """Return the SHA-256 of images and labels, in hexadecimal."""
    found = hashlib.sha256(np.ascontiguousarray(split.images.numpy()).data)
    found.update(np.ascontiguousarray(split.labels.numpy()).data)
    return found.hexdigest()


def moments(split: Split) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel in units of 255, rounded to six digits."""
    images = split.images.numpy()
    sums = np.zeros((2, images.shape[3]))
    for some in cache.rows(images):
        values = some.reshape(-1, images.shape[3]) / np.float32(255)
        sums += values.sum(axis=0, dtype=np.float64), np.square(values).sum(axis=0, dtype=np.float64)
    mean, square = sums / (images.size / images.shape[3])
    # At least one grey level: images of one colour have a deviation of 0, by which nothing can be divided.
    std = np.sqrt(np.maximum(square - mean**2, 1 / 255**2))
    return [round(value, 6) for value in mean.tolist()], [round(value, 6) for value in std.tolist()]
