"""Whether pictures may be mirrored: whether left and right mean something in them."""

import torch
from torch import Tensor
from torch.nn import functional

from training.datasets.splits import Split

THRESHOLD = 2 / 3  # the share of pictures told from their mirror images above which these would be something else
_SIDE = 16  # pixels: what is finer than that tells one picture from another, and nothing of a class
_ROUND = 1000  # pictures at once
_ENOUGH = 4000  # pictures of which it shows; more are evenly chosen among


def distinguishable(split: Split) -> float:
    """The share of pictures that can be told from their mirror images.

    What left has more of than right, in the mean over one half of a class, is compared with the same of each picture in
    the other half, and the other way round. Letters and right hands have it in common; of cars, which drive to the left
    as often as to the right, as many have it as have not.

    Args:
        split: Labelled images.

    Returns:
        About 0.5 where left and right are alike, up to 1.
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
    """What each picture has more of on the left: uint8 [N, H, W, C] → float32 [N, pixels], each of length 1."""
    small = functional.adaptive_avg_pool2d(images.permute(0, 3, 1, 2).float().mean(1, keepdim=True), _SIDE)
    return functional.normalize((small - small.flip(3)).flatten(1))
