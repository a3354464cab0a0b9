"""What each network is trained with when nothing else is asked for: the place to change a default."""

from dataclasses import dataclass, replace

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import networks
from training.recipes.augment import Augmentation
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """How a network is used by default.

    Args:
        preprocessing: What it sees.
        recipe: How it learns.
    """

    preprocessing: Preprocessing
    recipe: Recipe


_DIGIT = Preprocessing("digit", 28, 28, 1)
_DIGITS = Recipe(
    epochs=30,
    augmentation=Augmentation(degrees=15.0, warp=1.2),
    calming=0.35,
    variety=0.5,
    pool=60_000,
    outliers=0.4,
)

# Chosen on a validation split of MNIST's training images; docs/training.md has the figures.
PLANS = {
    "digits": Plan(_DIGIT, _DIGITS),
    "digits-large": Plan(_DIGIT, replace(_DIGITS, epochs=12, learning_rate=2e-3, weight_decay=0.05)),
    "digits-small": Plan(_DIGIT, _DIGITS),
    "classic": Plan(Preprocessing("stretch", 28, 28, 1), Recipe(epochs=5, learning_rate=1e-3)),
}


# What 2 cores with bfloat16 do in about five minutes of training: multiply-adds of the forward passes.
_BUDGET = 20e12
_FEWEST, _MOST = 12, 300  # epochs: of very many images, and of very few
_BATCH = 64
_STEPS = 8  # in an epoch, at least: batches shrink for that, down to 8 images
_STRANGERS = 0.25  # pictures of none of the classes for each of the data's
_POOL = 8000  # of them at most: 64 x 64 in colour takes 98 MB
_MNIST = 54_000  # images to train on


def plan(network: str) -> Plan:
    """The plan of a network for MNIST.

    Raises:
        TrainingError: There is no network of that name, or it takes no pictures of MNIST's size.
    """
    return PLANS[network] if network in PLANS else Plan(_DIGIT, for_folder(network, _MNIST, _DIGIT, mirrored=False))


def for_folder(network: str, images: int, seen: Preprocessing, mirrored: bool) -> Recipe:
    """How a network learns images of one's own.

    As many epochs as the network's cost lets 2 cores do in some minutes. Where left and right are alike, pictures show
    things: they are mirrored, and others are pasted into them. Where they are not, pictures show signs, of which no
    part may be missing: they are warped instead.

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
    cost, _parameters = networks.cost(networks.build(network, networks.complete(network, {}, seen), 2), seen)
    side = min(seen.height, seen.width)
    moved = Augmentation(
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
    epochs = min(_MOST, max(_FEWEST, round(_BUDGET / (cost * images * (1 + _STRANGERS)))))
    return Recipe(
        epochs=epochs,
        batch_size=max(8, min(_BATCH, images // _STEPS)),
        learning_rate=2e-3,
        weight_decay=0.05,
        averaging=2.0,
        patience=max(10, epochs // 3),
        augmentation=moved,
        variety=_STRANGERS,
        outliers=1.0,
        pool=min(_POOL, max(images, 1000)),
        variety_augmentation=moved,
        mixing=0.5 if mirrored else 0.0,
        balance=0.5,
    )


def fine_tuning(recipe: Recipe) -> Recipe:
    """The same for a network that begins with weights that have been trained: a third of the epochs, in small steps."""
    epochs = max(1, round(recipe.epochs / 3))
    return replace(
        recipe,
        epochs=epochs,
        learning_rate=recipe.learning_rate / 4,
        patience=min(recipe.patience, max(5, epochs // 3)),
    )
