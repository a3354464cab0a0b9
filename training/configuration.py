"""The training configuration."""

from dataclasses import dataclass, replace
from pathlib import Path

from pigeonhole.errors import TrainingError
from training.datasets import registry
from training.evaluation.calibrate import REVIEW_BUDGET
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class Order:
    """What to train.

    Args are the options of `pigeonhole train` (`training.train_options`), of the same names but for `start`, which is
    `--from`, and `teachers`, each a `--teacher`. None stands for the default of the network or of the data set.
    """

    data: Path | None
    output: Path
    dataset: str | None = None
    size: int | None = None
    network: str | None = None
    name: str = "digits"
    epochs: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    seed: int = 0
    validation: float | None = None
    validation_seed: int | None = None
    corrections: Path | None = None
    variety: bool | None = None
    fonts: Path | None = None
    teachers: tuple[str, ...] = ()
    review_budget: float = REVIEW_BUDGET
    flip: bool | None = None
    pretrained: bool = False
    start: str | None = None
    device: str = "auto"
    resume: bool = False

    @property
    def architecture(self) -> str:
        """Name of the network that is trained."""
        return self.network or registry.kind(self.dataset or registry.DEFAULT).network

    def amended(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the options that the user gave.

        Raises:
            TrainingError: The options ask for variety, or fonts for it, which the recipe does not have.
        """
        if self.variety and not recipe.variety:
            raise TrainingError(f"There is no variety for the network {self.architecture!r}; leave --variety out.")
        if self.fonts and (self.variety is False or not recipe.variety):
            raise TrainingError("--fonts is for variety, which this training has none of; leave it out.")
        moved = recipe.augmentation
        if moved and self.flip is not None:
            moved = replace(moved, flip=self.flip)
        return replace(
            recipe,
            augmentation=moved,
            epochs=recipe.epochs if self.epochs is None else self.epochs,
            batch_size=recipe.batch_size if self.batch_size is None else self.batch_size,
            patience=recipe.patience if self.patience is None else self.patience,
            variety=0.0 if self.variety is False else recipe.variety,
        )
