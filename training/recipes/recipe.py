"""The recipe of a training: its hyper-parameters."""

from dataclasses import asdict, dataclass, field
from typing import Any

from training.recipes.augment import Augmentation


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters of a training.

    Args:
        epochs: Number of passes over the training images.
        batch_size: Images in a step; those left over at the end of an epoch are not used in it.
        learning_rate: Largest learning rate; it rises over the first `warmup` of the steps, and falls to 0 along a
            cosine.
        warmup: Share of all steps in which the learning rate rises.
        weight_decay: Weight decay of AdamW.
        label_smoothing: Share of the target probability that is spread over all classes.
        averaging: Horizon of the moving average of the weights, as a share of an epoch; the averaged weights are
            evaluated and saved.
        patience: Number of epochs without a better validation loss after which training stops; 0 never stops early.
        augmentation: Augmentation of the images; None for none.
        augmentation_decay: Share of all steps, at the end, over which `augmentation` falls linearly to nothing: the
            last images are then like those in use (Z. He et al., "Data Augmentation Revisited", 2019).
        synthetic: Number of synthetic images (`training.synthetic`) in a step for each image of the data set; 0: none.
        pool: Number of synthetic images in all; 0 for as many as there are training images.
        outliers: Share of out-of-distribution images in the pool. Above 0, the network has a logit for "unknown".
        synthetic_augmentation: Augmentation of the synthetic images, which vary already; None for none.
        mixing: Share of the images into which a part of another one is pasted.
        balance: Exponent b of the weight of a class with n images, n to the power of −b: at 0 all images count alike,
            at 1 all classes.
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 4e-3
    warmup: float = 0.2
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    averaging: float = 0.5
    patience: int = 0
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    augmentation_decay: float = 0.0
    synthetic: float = 0.0
    pool: int = 0
    outliers: float = 0.2
    synthetic_augmentation: Augmentation | None = field(
        default_factory=lambda: Augmentation(degrees=4.0, scale=0.05, shear=0.05, shift=1.0)
    )
    mixing: float = 0.0
    balance: float = 0.0

    @property
    def outlier(self) -> bool:
        """Return whether the network has a logit for "unknown"."""
        return self.synthetic > 0 and self.outliers > 0

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values; newer ones are left out if they change nothing."""
        values = {key: value for key, value in asdict(self).items() if value or key not in _LATER}
        augmentations = {key: getattr(self, key) for key in ("augmentation", "synthetic_augmentation")}
        return {**values, **{key: how.to_json() if how else None for key, how in augmentations.items()}}


_LATER = ("augmentation_decay", "mixing", "balance")
