"""What a training is made of: the order, and all that can be refused before an hour of work."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from training import checkpoint, data, datasets, environment, model
from training.calibrate import REVIEW_BUDGET
from training.checkpoint import Checkpoint
from training.data import Split
from training.datasets import DataSet
from training.errors import CheckpointError, DatasetError, TrainingError
from training.folder import counts
from training.preprocess import Preprocessing
from training.recipe import Recipe
from training.recipes import PLANS, for_folder, plan
from training.variety import pool, printed


@dataclass(frozen=True)
class Order:
    """What to train.

    Args:
        data: The folder that holds MNIST.
        output: The checkpoint to write.
        dataset: "mnist", or "folder:" and the path of a folder of class folders.
        size: The shorter side in pixels of what the network sees; None for what fits the pictures of a folder.
        network: Its name; None for the data set's own default.
        name: The checkpoint's; it names a queue.
        epochs: None for the network's own default.
        batch_size: Likewise.
        patience: Likewise.
        seed: Of the split, the weights, the shuffling, the augmentation and the variety.
        validation: The share of the training images that is kept for validation.
        variety: Whether to train on other images beside the data; None for the network's own default.
        fonts: A folder, for printed digits among them; None for the system's, where there are any.
        teachers: Checkpoints to learn from beside the labels: files, or the name of a shipped one.
        review_budget: The largest share of new images, 0…1, that may be marked for review.
        device: "auto", "cpu" or "cuda".
        resume: Go on where an interrupted training stopped.
    """

    data: Path
    output: Path
    dataset: str = datasets.MNIST
    size: int | None = None
    network: str | None = None
    name: str = "digits"
    epochs: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    seed: int = 0
    validation: float = 0.1
    variety: bool | None = None
    fonts: Path | None = None
    teachers: tuple[str, ...] = ()
    review_budget: float = REVIEW_BUDGET
    device: str = "auto"
    resume: bool = False

    @property
    def architecture(self) -> str:
        """The name of the network that is trained."""
        return self.network or ("digits" if self.dataset == datasets.MNIST else "residual")

    def amended(self, recipe: Recipe) -> Recipe:
        """A recipe with what was asked for.

        Raises:
            TrainingError: It has no variety, which was asked for, or fonts for it were.
        """
        if self.variety and not recipe.variety:
            raise TrainingError(f"There is no variety for the network {self.architecture!r}; leave --variety out.")
        if self.fonts and (self.variety is False or not recipe.variety):
            raise TrainingError("--fonts is for variety, which this training has none of; leave it out.")
        return replace(
            recipe,
            epochs=recipe.epochs if self.epochs is None else self.epochs,
            batch_size=recipe.batch_size if self.batch_size is None else self.batch_size,
            patience=recipe.patience if self.patience is None else self.patience,
            variety=0.0 if self.variety is False else recipe.variety,
        )


@dataclass(frozen=True)
class Material:
    """What a training is made of.

    Args:
        network: Its name.
        recipe: How.
        arguments: Of the network as it is served.
        data: What it learns from and is measured on.
        fonts: Files, for the variety.
        teachers: Described, and built to give calibrated logits.
        device: What torch calls it.
        deciding: JSON values that decide, with machine and versions, which weights come of it.
        notes: What a user should be told.
        seconds: That it took to read.
    """

    network: str
    recipe: Recipe
    arguments: dict[str, Any]
    data: DataSet
    fonts: tuple[Path, ...]
    teachers: tuple[tuple[Checkpoint, nn.Module], ...]
    device: str
    deciding: dict[str, Any]
    notes: tuple[str, ...]
    seconds: float

    @property
    def logits(self) -> int:
        """How many the network returns."""
        return len(self.data.classes) + self.recipe.outlier


def gather(order: Order, on_progress: Callable[[int, int], None] | None = None) -> Material:
    """Read the data and everything else that an order names.

    Args:
        order: What to train.
        on_progress: Called with the files of a folder read so far, and how many there are.

    Returns:
        All of it.

    Raises:
        TrainingError: The data, a teacher, the device, the name or the output won't do.
    """
    checkpoint.check_name(order.name)
    _check_output(order.output)
    started = time.perf_counter()
    device, network = environment.device(order.device), order.architecture
    read = _read(order, on_progress)
    recipe = order.amended(_recipe(network, read))
    fonts = _fonts(order.fonts) if recipe.variety else ()
    teachers = tuple(_teacher(name, read.classes, read.preprocessing, recipe, device) for name in order.teachers)
    arguments = model.complete(network, _normalisation(network, read), read.preprocessing)
    deciding = {
        "dataset": read.name,
        "data_digest": read.digest,
        "validation": order.validation,
        "seed": order.seed,
        "network": network,
        "arguments": arguments,
        "preprocessing": read.preprocessing.to_json(),
        "recipe": recipe.to_json(),
        "fonts_digest": _content_digest(fonts) if fonts else None,
        "teachers": [{"name": described.name, "digest": described.digest} for described, _network in teachers],
    }
    return Material(
        network=network,
        recipe=recipe,
        arguments=arguments,
        data=read,
        fonts=fonts,
        teachers=teachers,
        device=device,
        deciding=deciding,
        notes=tuple(_notes(recipe, read, fonts)),
        seconds=time.perf_counter() - started,
    )


def _read(order: Order, on_progress: Callable[[int, int], None] | None) -> DataSet:
    folder = datasets.folder_of(order.dataset)
    seen = plan(order.architecture).preprocessing if folder is None or order.architecture in PLANS else None
    if order.size and seen is not None:
        raise TrainingError(
            f"The network {order.architecture!r} takes images of {seen.width} x {seen.height} only; leave --size out."
        )
    if folder is None:
        assert seen is not None
        order.amended(plan(order.architecture).recipe)  # refused before the reading
        return datasets.of_mnist(order.data, seen, order.validation, order.seed)
    return datasets.of_folder(folder, seen, order.size, order.validation, order.seed, order.output.parent, on_progress)


def _recipe(network: str, read: DataSet) -> Recipe:
    if read.name == datasets.MNIST:
        return plan(network).recipe
    fitting = for_folder(network, len(read.training), read.preprocessing)
    if network not in PLANS:
        return fitting
    lengths = {key: getattr(fitting, key) for key in ("epochs", "batch_size", "patience", "balance")}
    recipe = replace(PLANS[network].recipe, **lengths)
    # The variety of digits is made of digits.
    return recipe if read.classes == data.MNIST_CLASSES else replace(recipe, variety=0.0)


def _normalisation(network: str, read: DataSet) -> dict[str, Any]:
    """What the network is told of its images; nothing where it was made for them."""
    if network not in PLANS:
        mean, std = datasets.moments(read.training)
        return {"mean": mean, "std": std}
    if read.name == datasets.MNIST or read.preprocessing.kind == "digit":
        return {}
    mean, std = datasets.moments(read.training)
    return {"mean": mean[0], "std": std[0]}


def _notes(recipe: Recipe, read: DataSet, fonts: tuple[Path, ...]) -> Iterator[str]:
    yield from read.notes
    times = counts.imbalance(read.training.counts(len(read.classes)))
    if times:
        weighed = "; an image of a small class counts for more" if recipe.balance else ""
        yield f"The classes are unequal: the largest has {times:.1f} times the images of the smallest{weighed}."
    if recipe.variety and not fonts:
        yield "There are no fonts here, so no printed digits among the variety; --fonts names a folder of some."


def variety(material: Material, seed: int, on_progress: Callable[[int, int], None]) -> Split | None:
    """Make the pool of other images that a recipe asks for; None where it asks for none.

    Args:
        material: Its training images are what the pool is made of.
        seed: Of all draws.
        on_progress: Called with how many images there are, and how many there will be.
    """
    recipe = material.recipe
    if not recipe.variety:
        return None
    return pool.make(
        material.data.training,
        recipe.pool or len(material.data.training),
        recipe.outliers,
        seed,
        material.data.preprocessing,
        fonts=material.fonts,
        on_progress=on_progress,
    )


def _check_output(output: Path) -> None:
    if not output.parent.is_dir():
        raise CheckpointError(f"{output.parent} is not a folder; make it, or choose another -o.")
    if output.is_dir():
        raise CheckpointError(f"{output} is a folder, and a checkpoint is a file; choose another -o.")
    try:
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as exc:
        raise CheckpointError(
            f"{output.parent}: can't be written to ({exc.strerror or exc}); choose another -o."
        ) from exc


def _teacher(
    name: str, classes: tuple[str, ...], preprocessing: Preprocessing, recipe: Recipe, device: str
) -> tuple[Checkpoint, nn.Module]:
    path = checkpoint.find(name)
    described = checkpoint.describe(path)
    for what, theirs, ours in (
        ("classes", ", ".join(described.classes), ", ".join(classes)),
        ("preprocessing", _words(described.preprocessing), _words(preprocessing)),
        ('logit for "none of these"', _yes(described.calibration.outlier), _yes(recipe.outlier)),
    ):
        if theirs != ours:
            raise TrainingError(
                f"{path}: it can't be a teacher here. Its {what}: {theirs}; this training's: {ours}. "
                "Name one that was trained the same way."
            )
    described, network = checkpoint.load(path, device)
    return described, _Calibrated(network, described.calibration.temperature).eval()


class _Calibrated(nn.Module):
    """A network whose softmax gives its checkpoint's probabilities."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, H, W, C] → float32 logits [N, L], divided by the temperature."""
        logits: Tensor = self.network(pixels).float() / self.temperature
        return logits


def _words(seen: Preprocessing) -> str:
    return f"{seen.kind}, {seen.width} x {seen.height} x {seen.channels}"


def _yes(there: bool) -> str:
    return "yes" if there else "no"


def _fonts(folder: Path | None) -> tuple[Path, ...]:
    found = printed.find_fonts(folder or printed.FOLDER)
    if folder is not None and not found:
        raise DatasetError(f"{folder} holds no font with ten digits; --fonts names a folder of .ttf or .otf files.")
    return found


def _content_digest(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
