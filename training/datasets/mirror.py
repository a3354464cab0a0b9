"""A test whether pictures may be mirrored in training: whether left and right are alike in a data set."""

import torch
from torch import Tensor
from torch.nn import functional

from training.datasets.splits import Split

THRESHOLD = 2 / 3  # share of distinguishable pictures; above it, pictures are not mirrored
_SIDE = 16  # pixels: finer details belong to one picture, not to its class
_ROUND = 1000  # pictures at once
_ENOUGH = 4000  # pictures, evenly spread over all: enough for a reliable share


def distinguishable(split: Split) -> float:
    """Return the share of pictures that are distinguishable from their mirror images.

    The difference between left and right, averaged over one half of a class, is compared with the difference in each
    picture of the other half, and vice versa. Pictures of letters or right hands agree with the average of their class.
    Of cars, which face left as often as right, about half do.

    Args:
        split: Labelled images.

    Returns:
        About 0.5 if left and right are alike, up to 1 if they differ.
    """
    chosen = torch.linspace(0, len(split) - 1, min(len(split), _ENOUGH)).long()
    labels = split.labels[chosen]
    sides = torch.cat([_sides(split.images[some]) for some in torch.split(chosen, _ROUND)])  # [N, pixels]
    right = total = 0
    for label in torch.unique(labels).tolist():
        members = sides[labels == label]
        halves = members[::2], members[1::2]
        for known, tried in (halves, halves[::-1]):
            if len(known):
                right += int((tried @ known.mean(dim=0) > 0).sum())
                total += len(tried)
    return right / max(1, total)


def _sides(images: Tensor) -> Tensor:
    """Return the difference between each picture and its mirror image: uint8 [N, H, W, C] → float32 [N, pixels].

    Pictures are grey and 16 x 16 pixels here, and each difference has length 1.
    """
    small = functional.adaptive_avg_pool2d(images.permute(0, 3, 1, 2).float().mean(1, keepdim=True), _SIDE)
    return functional.normalize((small - small.flip(3)).flatten(1))
