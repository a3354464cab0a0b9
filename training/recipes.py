"""What each network is trained with when nothing else is asked for: the place to change a default."""

from dataclasses import dataclass, replace

from training import model
from training.augment import Augmentation
from training.preprocess import Preprocessing
from training.recipe import Recipe


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
_DIGITS = Recipe(variety=0.5, pool=40_000, outliers=0.4)

# Chosen on a validation split of MNIST's training images; docs/training.md has the figures.
PLANS = {
    "digits": Plan(_DIGIT, _DIGITS),
    "digits-large": Plan(_DIGIT, replace(_DIGITS, learning_rate=2e-3, weight_decay=0.05)),
    "digits-small": Plan(_DIGIT, _DIGITS),
    "classic": Plan(Preprocessing("stretch", 28, 28, 1), Recipe(epochs=5, learning_rate=1e-3)),
}


# What 2 cores with bfloat16 do in about six minutes of training: multiply-adds of the forward passes.
_BUDGET = 20e12
_FEWEST, _MOST = 12, 150  # epochs: of very many images, and of very few
_BATCH = 64
_MNIST = 54_000  # images to train on
_STEPS = 8  # in an epoch, at least: batches shrink for that, down to 8 images


def plan(network: str) -> Plan:
    """The plan of a network for MNIST.

    Raises:
        TrainingError: There is no network of that name, or it takes no pictures of MNIST's size.
    """
    return PLANS[network] if network in PLANS else Plan(_DIGIT, for_folder(network, _MNIST, _DIGIT))


def for_folder(network: str, images: int, seen: Preprocessing) -> Recipe:
    """How a network learns images of one's own.

    As many epochs as the network's cost lets 2 cores do in some minutes. Pictures in colour are mirrored and changed in
    their colours, and others are pasted into them; in grey there may be writing, which is not mirrored, but warped.

    Args:
        network: Its name.
        images: How many there are to train on.
        seen: What the network sees.

    Returns:
        The recipe.

    Raises:
        TrainingError: An unknown name, or a network that takes no pictures of that size.
    """
    fresh = model.build(network, model.complete(network, {}, seen), 2)
    cost, _parameters = model.cost(fresh, seen)
    colours = seen.channels > 1
    moved = Augmentation(
        degrees=10.0,
        scale=0.15,
        shear=0.1,
        shift=0.1 * min(seen.height, seen.width),
        flip=colours,
        outside="border",
        warp=0.0 if colours else 0.05 * min(seen.height, seen.width),
        colour=0.3,
        erasing=0.4,
    )
    epochs = min(_MOST, max(_FEWEST, round(_BUDGET / (cost * images))))
    return Recipe(
        epochs=epochs,
        batch_size=max(8, min(_BATCH, images // _STEPS)),
        learning_rate=2e-3,
        weight_decay=0.05,
        averaging=2.0,
        patience=max(10, epochs // 3),
        augmentation=moved,
        mixing=0.5 if colours else 0.0,
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
