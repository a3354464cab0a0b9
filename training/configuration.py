"""What is asked of a training."""

from dataclasses import dataclass, replace
from pathlib import Path

from pigeonhole.errors import TrainingError
from training.datasets import registry
from training.evaluation.calibrate import REVIEW_BUDGET
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class Order:
    """What to train.

    Args:
        data: The folder that holds MNIST; None for "data", or where MNIST is not what is trained on.
        output: The checkpoint to write.
        dataset: "mnist", or "folder:" and the path of a folder of class folders; None for what `start` was trained on,
            or for MNIST.
        size: The shorter side in pixels of what the network sees; None for what fits the pictures of a folder.
        network: Its name; None for the data set's own default.
        name: The checkpoint's; it names a queue.
        epochs: None for the network's own default.
        batch_size: Likewise.
        patience: Likewise.
        seed: Of the weights, the shuffling, the augmentation and the variety.
        validation: The share of the training images that is kept for validation; None for a tenth, or for the one that
            `start` or a teacher was trained with on the same data.
        validation_seed: Decides which ones; None for `seed`, or likewise.
        corrections: A CSV file of a person's labels, for what `start` was trained on.
        variety: Whether to train on other images beside the data; None for the network's own default.
        fonts: A folder, for printed digits among them; None for the system's, where there are any.
        teachers: Checkpoints to learn from beside the labels: files, or the name of a shipped one.
        review_budget: The largest share of new images, 0…1, that may be marked for review.
        flip: Whether half of the images are mirrored; None for the recipe's own default.
        pretrained: Begin with torchvision's weights, for one of its networks.
        start: A checkpoint to begin with: a file, or the name of a shipped one; None to begin afresh.
        device: "auto", "cpu" or "cuda".
        resume: Go on where an interrupted training stopped.
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
        """The name of the network that is trained."""
        return self.network or registry.kind(self.dataset or registry.DEFAULT).network

    def amended(self, recipe: Recipe) -> Recipe:
        """A recipe with what was asked for.

        Raises:
            TrainingError: It has no variety, which was asked for, or fonts for it were.
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
