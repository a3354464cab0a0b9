"""What each network is trained with when nothing else is asked for: the place to change a default."""

from dataclasses import dataclass, replace

from training.errors import TrainingError
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


def plan(network: str) -> Plan:
    """The plan of a network.

    Raises:
        TrainingError: There is none for that name.
    """
    if network not in PLANS:
        raise TrainingError(f"Unknown network {network!r}; there are {', '.join(sorted(PLANS))}.")
    return PLANS[network]
