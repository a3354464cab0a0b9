"""The default recipe of each network."""

from dataclasses import replace
from typing import NamedTuple

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks import registry as networks
from training.recipes.augment import Augmentation
from training.recipes.recipe import Recipe


class Plan(NamedTuple):
    """What a network is trained on MNIST with, by default."""

    preprocessing: Preprocessing
    recipe: Recipe


_DIGITS = Recipe(
    epochs=30,
    augmentation=Augmentation(degrees=15.0, warp=1.2),
    augmentation_decay=0.35,
    variety=0.5,
    pool=60_000,
    outliers=0.4,
)

# Chosen on a validation split of MNIST's training images; docs/experiments.md has the figures.
# A network without a recipe here takes the one of `for_folder`.
RECIPES = {
    "digits": _DIGITS,
    "digits-large": replace(_DIGITS, epochs=12, learning_rate=2e-3, weight_decay=0.05),
    "digits-small": _DIGITS,
    "classic": Recipe(epochs=5, learning_rate=1e-3),
}


# What 2 cores with bfloat16 do in about five minutes of training: multiply-adds of the forward passes.
_BUDGET = 20e12
_FEWEST, _MOST = 12, 300  # epochs: of very many images, and of very few
_BATCH = 64
_STEPS = 8  # in an epoch, at least: batches shrink for that, down to 8 images
_OUTLIERS = 0.25  # pictures of none of the classes for each of the data's
_POOL = 8000  # of them at most: 64 x 64 in colour takes 98 MB
_MNIST = 54_000  # images to train on


def plan(network: str) -> Plan:
    """Return the plan of a network for MNIST.

    Raises:
        TrainingError: There is no network of that name, or it takes no pictures of MNIST's size.
    """
    preprocessing = networks.load(network).preprocessing or networks.DIGIT
    return Plan(preprocessing, RECIPES.get(network) or for_folder(network, _MNIST, preprocessing, mirrored=False))


def for_folder(network: str, images: int, preprocessing: Preprocessing, mirrored: bool) -> Recipe:
    """Return the recipe of a network for a user's own images.

    The number of epochs is what 2 cores do in some minutes. If left and right are alike, pictures show things: they are
    mirrored, and other pictures are pasted into them. Otherwise pictures show signs, of which no part may be missing:
    they are warped instead.

    Args:
        network: Its name.
        images: How many there are to train on.
        seen: What the network sees.
        mirrored: Whether left and right are alike in them (`training.datasets.mirror`).

    Returns:
        The recipe.

    Raises:
        TrainingError: An unknown name, or a network that takes no pictures of that size.
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
        variety=_OUTLIERS,
        outliers=1.0,
        pool=min(_POOL, max(images, 1000)),
        variety_augmentation=augmentation,
        mixing=0.5 if mirrored else 0.0,
        balance=0.5,
    )


def fine_tuning(recipe: Recipe) -> Recipe:
    """Return the recipe for a network with trained weights: a third of the epochs, in small steps."""
    epochs = max(1, round(recipe.epochs / 3))
    return replace(
        recipe,
        epochs=epochs,
        learning_rate=recipe.learning_rate / 4,
        patience=min(recipe.patience, max(5, epochs // 3)),
    )
