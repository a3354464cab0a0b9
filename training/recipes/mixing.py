"""The augmentation CutMix: a rectangle of one image is pasted into another.

S. Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", 2019.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.datasets.splits import Split
from training.recipes.augment import boxes


@dataclass(frozen=True)
class Mixed:
    """Images into which others may be pasted.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N].
        others: int64 [N], labels of the pasted images.
        pasted: float32 [N], share of the area that is pasted, 0…1.
    """

    images: Tensor
    labels: Tensor
    others: Tensor
    pasted: Tensor

    def beside(self, split: Split) -> "Mixed":
        """Return these images followed by those of a split, into which nothing is pasted."""
        return Mixed(
            torch.cat([self.images, split.images]),
            torch.cat([self.labels, split.labels]),
            torch.cat([self.others, split.labels]),
            torch.cat([self.pasted, torch.zeros(len(split), device=self.pasted.device)]),
        )


def mix(batch: Split, share: float, generator: torch.Generator) -> Mixed:
    """Paste a rectangle of another image of the batch into some of them.

    Args:
        batch: Images with their labels.
        share: Mean share of images into which another is pasted; at 0, nothing is drawn from the generator.
        generator: Random generator on the CPU.

    Returns:
        The same number of images, copied if `share` is above 0.
    """
    count, device = len(batch), batch.labels.device
    if not share:
        return Mixed(batch.images, batch.labels, batch.labels, torch.zeros(count, device=device))
    other = torch.randperm(count, generator=generator).to(device)
    # The area is uniform in 0…1, as in the paper, before the border cuts the rectangle.
    area = torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < share)
    planes = batch.images.permute(0, 3, 1, 2)  # [N, C, H, W], a view
    inside = boxes(planes, area.sqrt().expand(2, count), generator)  # [N, 1, H, W]
    images = torch.where(inside, planes[other], planes).permute(0, 2, 3, 1).contiguous()
    return Mixed(images, batch.labels, batch.labels[other], inside.float().mean(dim=(1, 2, 3)))
