"""The training configuration: the options of `pigeonhole train`. It imports no torch, since --help needs it."""

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
    """The options of one training. None stands for the default of the network or of the data set."""

    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint to write.")]
    data: DataOption = None
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar=f"{'|'.join(registry.KINDS)}[:PATH]",
            help="Data set to train on: mnist, folder:DIR with one folder of pictures for each class, or csv:FILE with "
            "the columns path and label.  \\[default: the one at --data, the one of --from, or mnist]",
        ),
    ] = None
    network: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=lambda: list(NETWORKS),
            help=f"{', '.join(NETWORKS)}, or the name of a torchvision network, such as resnet18.  "
            "\\[default: digits for mnist, residual for other data sets]",
        ),
    ] = None
    size: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=1024,
            help="Shorter side of the network's input in pixels.  \\[default: fits the pictures, up to 64]",
        ),
    ] = None
    name: Annotated[
        str, typer.Option(help="Name of the model, and of its workers' queue.  \\[default: the file's name]")
    ] = ""
    epochs: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Passes over the data.  \\[default: the recipe's]")
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(min=2, max=65_536, help="Images in a step.  \\[default: the recipe's]")
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many epochs without a better one.  \\[default: the recipe's]"),
    ] = None
    seed: Annotated[
        int, typer.Option(min=0, max=_SEEDS, help="Same seed, same machine, same weights (on the CPU).")
    ] = 0
    validation: Annotated[
        float | None, typer.Option(help="Share of the training images kept for validation.  \\[default: 0.1]")
    ] = None
    synthetic: Annotated[
        bool | None,
        typer.Option(
            "--synthetic/--no-synthetic",
            help="Also train on synthetic data: out-of-distribution images, and for digits also other kinds of digits. "
            " \\[default: the recipe's]",
        ),
    ] = None
    fonts: Annotated[
        Path | None,
        typer.Option(help="Folder of fonts for synthetic printed digits.  \\[default: /usr/share/fonts]"),
    ] = None
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="JSON object of recipe values that replace the default ones; see --show-recipe."
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
        float, typer.Option(min=0.0, max=1.0, help="Largest share of images that may be marked for review.")
    ] = REVIEW_BUDGET
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Mirror half of the training images, left to right.  "
            "\\[default: for a folder, unless left and right differ in its pictures]",
        ),
    ] = None
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Start from torchvision's weights, for a torchvision network.")
    ] = False
    initial_weights: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            help="Start from the weights of this checkpoint, with its network and preprocessing; classes may differ.",
        ),
    ] = None
    corrections: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="With --from: a person's labels for pictures of its data set or new ones; columns path and label.",
        ),
    ] = None
    device: DeviceOption = Device.AUTO
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume where the same command was interrupted; the result is the same.")
    ] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace FILE and its .resume, even if another command wrote them.")
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
            recipe: Default recipe.
            values: Values by name, as `training.recipes.overrides.read` returns them.

        Raises:
            TrainingError: The options ask for synthetic data, or fonts for them, and the recipe has none.
        """
        from training.recipes import overrides

        if (self.synthetic or (values or {}).get("synthetic")) and not recipe.synthetic:
            raise TrainingError(
                f"There is no synthetic data for the network {self.architecture!r}; give --no-synthetic."
            )
        if self.fonts and (self.synthetic is False or not recipe.synthetic):
            raise TrainingError("--fonts is for synthetic data, and this training has none; leave --fonts out.")
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
            synthetic=0.0 if self.synthetic is False else recipe.synthetic,
        )
