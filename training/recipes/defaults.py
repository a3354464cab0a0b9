"""The default recipe of each network."""

from dataclasses import replace
from typing import NamedTuple

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks import registry as networks
from training.recipes.augment import Augmentation
from training.recipes.recipe import Recipe


class Plan(NamedTuple):
    """The default preprocessing and recipe of a network for MNIST."""

    preprocessing: Preprocessing
    recipe: Recipe


_DIGITS = Recipe(
    epochs=30,
    augmentation=Augmentation(degrees=15.0, warp=1.2),
    augmentation_decay=0.35,
    synthetic=0.5,
    pool=60_000,
    outliers=0.4,
)

# Chosen on a validation split of MNIST's training images; docs/experiments.md has the figures.
# A network that is not listed here has the recipe of `for_folder`.
RECIPES = {
    "digits": _DIGITS,
    "digits-large": replace(_DIGITS, epochs=12, learning_rate=2e-3, weight_decay=0.05),
    "digits-small": _DIGITS,
    "classic": Recipe(epochs=5, learning_rate=1e-3),
}


# Multiply-adds of the forward passes that 2 cores with bfloat16 compute in about five minutes of training.
_BUDGET = 20e12
_FEWEST, _MOST = 12, 300  # epochs, for very many and for very few images
_BATCH = 64
_STEPS = 8  # smallest number of steps in an epoch: batches shrink for it, down to 8 images
_OUTLIERS = 0.25  # out-of-distribution images for each image of the data set
_POOL = 8000  # largest number of them: at 64 x 64 in colour they take 98 MB
_MNIST = 54_000  # images to train on


def plan(network: str) -> Plan:
    """Return the plan of a network for MNIST.

    Raises:
        TrainingError: There is no network of that name, or it does not take images of MNIST's size.
    """
    preprocessing = networks.load(network).preprocessing or networks.DIGIT
    return Plan(preprocessing, RECIPES.get(network) or for_folder(network, _MNIST, preprocessing, mirrored=False))


def for_folder(network: str, images: int, preprocessing: Preprocessing, mirrored: bool) -> Recipe:
    """Return the recipe of a network for a user's own images.

    Two cores compute the epochs in some minutes. If left and right are alike, pictures show objects: they are mirrored,
    and other pictures are pasted into them. Otherwise pictures show signs, such as letters, which need all their parts:
    they are warped instead.

    Args:
        network: Name of the network.
        images: Number of images to train on.
        preprocessing: Preprocessing of the images.
        mirrored: Whether left and right are alike in the images (`training.datasets.mirror`).

    Raises:
        TrainingError: There is no network of that name, or it does not take images of that size.
    """
    cost, _parameters = networks.build(network, networks.complete(network, {}, preprocessing), 2).cost(preprocessing)
    side = min(preprocessing.height, preprocessing.width)
    augmentation = Augmentation(
        degrees=10.0,
        scale=0.15,
        shear=0.1,
        shift=0.1 * side,
        flip=mirrored,
        warp=0.0 if mirrored else 0.05 * side,
        outside="border",
        colour=0.3,
        erasing=0.4,
    )
    epochs = min(_MOST, max(_FEWEST, round(_BUDGET / (cost * images * (1 + _OUTLIERS)))))
    return Recipe(
        epochs=epochs,
        batch_size=max(8, min(_BATCH, images // _STEPS)),
        learning_rate=2e-3,
        weight_decay=0.05,
        averaging=2.0,
        patience=max(10, epochs // 3),
        augmentation=augmentation,
        synthetic=_OUTLIERS,
        outliers=1.0,
        pool=min(_POOL, max(images, 1000)),
        synthetic_augmentation=augmentation,
        mixing=0.5 if mirrored else 0.0,
        balance=0.5,
    )


def fine_tuning(recipe: Recipe) -> Recipe:
    """Return the recipe for a network with trained weights: a third of the epochs, a quarter of the learning rate."""
    epochs = max(1, round(recipe.epochs / 3))
    return replace(
        recipe,
        epochs=epochs,
        learning_rate=recipe.learning_rate / 4,
        patience=min(recipe.patience, max(5, epochs // 3)),
    )
