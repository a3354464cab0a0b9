"""The training configuration: the options of `pigeonhole train`. No torch here: the help of the command shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pigeonhole.errors import TrainingError
from pigeonhole.models.networks.registry import NETWORKS
from training.datasets import registry
from training.options import DataOption, Device, DeviceOption

if TYPE_CHECKING:
    from training.recipes.recipe import Recipe

REVIEW_BUDGET = 0.01  # share of new images like those of the validation split that may be marked for review
_SEEDS = 2**32 - 1


@dataclass(frozen=True)
class Configuration:
    """What to train, and how. None stands for the default of the network or of the data set."""

    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint to write.")]
    data: DataOption = None
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar=f"{'|'.join(registry.KINDS)}[:PATH]",
            help="What to train on: mnist, folder:DIR with one folder of pictures for each class, or csv:FILE with the "
            "columns path and label.  \\[default: what --data holds, what --from was trained on, or mnist]",
        ),
    ] = None
    network: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=lambda: list(NETWORKS),
            help=f"{', '.join(NETWORKS)}, or what torchvision calls one of its own: resnet18 and the like.  "
            "\\[default: digits for mnist, residual for other data sets]",
        ),
    ] = None
    size: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=1024,
            help="Shorter side in pixels of what the network sees of a picture file.  \\[default: fits them, up to 64]",
        ),
    ] = None
    name: Annotated[
        str, typer.Option(help="The checkpoint's name: its workers' queue is named after it.  \\[default: FILE's]")
    ] = ""
    epochs: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Passes over the data.  \\[default: the network's]")
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(min=2, max=65_536, help="Images in a step.  \\[default: the network's]")
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many epochs without a better one.  \\[default: the network's]"),
    ] = None
    seed: Annotated[
        int, typer.Option(min=0, max=_SEEDS, help="Same seed, same machine, same weights (on the CPU).")
    ] = 0
    validation: Annotated[
        float | None, typer.Option(help="Share of the training images kept for validation.  \\[default: 0.1]")
    ] = None
    variety: Annotated[
        bool | None,
        typer.Option(
            "--variety/--no-variety",
            help="Also train on pictures that are none of the classes, and on digits of other kinds.  "
            "\\[default: the network's]",
        ),
    ] = None
    fonts: Annotated[
        Path | None,
        typer.Option(help="A folder of fonts, for printed digits among them.  \\[default: /usr/share/fonts]"),
    ] = None
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="A JSON object of recipe values in place of the default ones; see --show-recipe."
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A recipe value, such as learning_rate=0.001 or augmentation.degrees=5; may be repeated.",
        ),
    ] = None
    review_budget: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The share of images that may be marked for review.")
    ] = REVIEW_BUDGET
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Whether training mirrors half of the images, left to right.  "
            "\\[default: a folder's, unless left and right differ in them]",
        ),
    ] = None
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Begin with torchvision's weights, for one of its networks.")
    ] = False
    initial_weights: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            help="Begin with the weights of this checkpoint: its network, its preprocessing; the classes may be "
            "others.",
        ),
    ] = None
    corrections: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="With --from: a person's labels, of columns path and label, for pictures of its data set or more of "
            "them.",
        ),
    ] = None
    device: DeviceOption = Device.AUTO
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the same command was interrupted, with the same result.")
    ] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace FILE and its .resume, whatever they are, and start over.")
    ] = False

    @property
    def model_name(self) -> str:
        """Name of the model, which names its workers' queue."""
        return self.name or self.output.stem

    @property
    def architecture(self) -> str:
        """Name of the network that is trained."""
        return self.network or registry.kind(registry.name_of(self.dataset, self.data) or registry.DEFAULT).network

    def amended(self, recipe: "Recipe", values: Mapping[str, Any] | None = None) -> "Recipe":
        """Return a recipe with the values and the options that the user gave; options such as --epochs win.

        Args:
            recipe: The default one.
            values: As `training.recipes.overrides.read` returns them.

        Raises:
            TrainingError: The options ask for variety, or fonts for it, which the recipe does not have.
        """
        from training.recipes import overrides

        if (self.variety or (values or {}).get("variety")) and not recipe.variety:
            raise TrainingError(f"There is no variety for the network {self.architecture!r}; leave variety out.")
        if self.fonts and (self.variety is False or not recipe.variety):
            raise TrainingError("--fonts is for variety, which this training has none of; leave it out.")
        recipe = overrides.apply(recipe, values or {})
        augmentation = recipe.augmentation
        if augmentation and self.flip is not None:
            augmentation = replace(augmentation, flip=self.flip)
        return replace(
            recipe,
            augmentation=augmentation,
            epochs=recipe.epochs if self.epochs is None else self.epochs,
            batch_size=recipe.batch_size if self.batch_size is None else self.batch_size,
            patience=recipe.patience if self.patience is None else self.patience,
            variety=0.0 if self.variety is False else recipe.variety,
        )
