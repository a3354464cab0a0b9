"""How a network is trained, whatever it is trained on."""

from dataclasses import asdict, dataclass, field
from typing import Any

from training.recipes.augment import Augmentation


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        epochs: Passes over the training data.
        batch_size: Images in a step; what is left over at the end of an epoch waits for the next one's shuffle.
        learning_rate: At its peak; it rises over the first `warmup` of the steps and falls to 0 along a cosine.
        warmup: A share of all steps.
        weight_decay: AdamW's.
        label_smoothing: The share of certainty that the target gives away to all classes.
        averaging: How many steps the average of the weights looks back on, as a share of an epoch; the average
            is what is evaluated and kept.
        patience: Epochs without a better validation loss that end training; 0 trains them all.
        augmentation: None trains on the images as they are.
        augmentation_decay: The share of all steps, the last ones, over which `augmentation` falls linearly to nothing,
            so that the network ends on images as it will meet them (Z. He et al., "Data Augmentation Revisited", 2019).
        variety: Images from a pool of other ones (`training.synthetic`) in a step for each of the data's; 0 for none.
        pool: Images in that pool; 0 for as many as there are to train on.
        outliers: The share of them that are of no class. Above 0, the network has one more logit, for these.
        variety_augmentation: As `augmentation`, for the pool's, which have been moved when they were made.
        mixing: The share of the data's images that another one is pasted into.
        balance: What a class counts goes with its number of images to the power of −this: at 0 every image counts as
            much as any other, at 1 every class.
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
    variety: float = 0.0
    pool: int = 0
    outliers: float = 0.2
    variety_augmentation: Augmentation | None = field(
        default_factory=lambda: Augmentation(degrees=4.0, scale=0.05, shear=0.05, shift=1.0)
    )
    mixing: float = 0.0
    balance: float = 0.0

    @property
    def outlier(self) -> bool:
        """Whether the network learns what is of no class, and has a logit for it."""
        return self.variety > 0 and self.outliers > 0

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values; what came later is left out where it changes nothing."""
        values = {key: value for key, value in asdict(self).items() if value or key not in _LATER}
        augmentations = {key: getattr(self, key) for key in ("augmentation", "variety_augmentation")}
        return {**values, **{key: how.to_json() if how else None for key, how in augmentations.items()}}


_LATER = ("augmentation_decay", "mixing", "balance")
