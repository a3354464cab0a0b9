"""What a training is made of, by its configuration, and all that can be refused before an hour of work."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pigeonhole.errors import CheckpointError, DatasetError, TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks import vision
from pigeonhole.models.output_names import check_output, model_name
from pigeonhole.nearby import missing
from training import environment
from training.configuration import Configuration
from training.datasets import mirror, selection, splits
from training.datasets.data_set import Progress, ReadOptions, TrainingData
from training.datasets.selection import Selection
from training.datasets.splits import Split
from training.loop import initial_weights
from training.loop.initial_weights import Learned, Pretrained
from training.recipes import overrides
from training.recipes.defaults import RECIPES, fine_tuning, for_folder, plan
from training.recipes.recipe import Recipe
from training.synthetic import out_of_distribution, pool, printed

UNEQUAL = 2.0  # images of the largest class for each of the smallest, from where on the user is told


@dataclass(frozen=True)
class TrainingSetup:
    """What a training is made of.

    Args:
        network: Its name.
        recipe: How.
        arguments: Of the network as it is served.
        data: What it learns from and is measured on.
        fonts: Files, for the variety.
        start: What it begins with; None for fresh weights.
        device: What torch calls it.
        deciding: JSON values that decide, with machine and versions, which weights come of it.
        overrides: Values of the recipe that are not the default, by name.
        notes: What a user should be told.
        seconds: That it took to read.
    """

    network: str
    recipe: Recipe
    arguments: dict[str, Any]
    data: TrainingData
    fonts: tuple[Path, ...]
    initial_weights: Learned | Pretrained | None
    device: str
    identity: dict[str, Any]
    overrides: dict[str, Any]
    notes: tuple[str, ...]
    seconds: float

    @property
    def logits(self) -> int:
        """How many the network returns."""
        return len(self.data.classes) + self.recipe.outlier


def gather(config: Configuration, on_progress: Progress | None = None) -> TrainingSetup:
    """Read the data and everything else that a configuration names.

    Args:
        config: Training configuration.
        on_progress: Called with the files of a folder read so far, and how many there are.

    Returns:
        All of it.

    Raises:
        TrainingError: The data, the device, the name or the output won't do.
    """
    values = check(config)
    started = time.perf_counter()
    device, initial = environment.device(config.device), _initial_weights(config)
    parent = initial.described if isinstance(initial, Learned) else None
    config = replace(config, network=parent.network) if parent else config
    network = config.architecture
    chosen = selection.select(config, parent)
    read = _read(config, chosen, parent.preprocessing if parent else None, on_progress)
    default = _recipe(network, read)
    default = fine_tuning(default) if initial else default
    recipe = config.amended(default, values)
    if recipe.variety and not recipe.outliers and not read.preprocessing.reads_digits:
        raise TrainingError(
            "outliers is 0, and the synthetic images for these pictures belong to none of the classes; give "
            "--no-variety, or a value above 0."
        )
    fonts = _fonts(config.fonts) if recipe.variety and read.preprocessing.reads_digits else ()
    measured = {} if parent else _normalisation(network, read, initial)
    arguments = parent.arguments if parent else networks.complete(network, measured, read.preprocessing)
    identity = {
        "dataset": read.data_set.name,
        "data_digest": read.digest,
        "seed": config.seed,
        **chosen.identity(config.seed),
        "network": network,
        "arguments": dict(arguments),
        "preprocessing": read.preprocessing.to_json(),
        "recipe": recipe.to_json(),
        "fonts_digest": _content_digest(fonts) if fonts else None,
        **(initial.identity() if initial else {}),
    }
    return TrainingSetup(
        network=network,
        recipe=recipe,
        arguments=dict(arguments),
        data=read,
        fonts=fonts,
        initial_weights=initial,
        device=device,
        identity=identity,
        overrides=overrides.differences(recipe, default),
        notes=tuple(_notes(config, recipe, read, fonts)),
        seconds=time.perf_counter() - started,
    )


def check(config: Configuration) -> dict[str, Any]:
    """Check what needs no data, and return the recipe's values that the user gave.

    Raises:
        TrainingError: The output, the name or a value of the recipe can't be used.
    """
    _check_output(config.output)
    model_name(config.name, config.output)
    return overrides.read(config.recipe, config.settings or ())


def _initial_weights(config: Configuration) -> Learned | Pretrained | None:
    if config.pretrained and config.initial_weights:
        raise TrainingError("--pretrained and --from are two ways to begin; leave one of them out.")
    if config.pretrained:
        return initial_weights.pretrained(config.architecture)
    return initial_weights.learned(config.initial_weights, config.network) if config.initial_weights else None


def _read(
    config: Configuration, chosen: Selection, preprocessing: Preprocessing | None, on_progress: Progress | None
) -> TrainingData:
    own, tuned = networks.load(config.architecture).preprocessing, chosen.data_set.tuned
    if preprocessing is None:
        preprocessing = plan(config.architecture).preprocessing if tuned else own
    if config.size and preprocessing is not None:
        raise TrainingError(
            f"The network {config.architecture!r} takes images of {preprocessing.width} x "
            f"{preprocessing.height} only; leave --size out."
        )
    if tuned:
        config.amended(plan(config.architecture).recipe)  # refused before the reading
    size = config.size or (None if config.architecture in networks.NETWORKS else vision.SIDE)
    return chosen.read(ReadOptions(config.output.parent, chosen.share, chosen.seed, preprocessing, size, on_progress))


def _recipe(network: str, read: TrainingData) -> Recipe:
    if read.data_set.tuned:
        return plan(network).recipe
    mirrored = mirror.distinguishable(read.training) < mirror.THRESHOLD
    fitting = for_folder(network, len(read.training), read.preprocessing, mirrored)
    if network not in RECIPES:
        return fitting
    lengths = {key: getattr(fitting, key) for key in ("epochs", "batch_size", "patience", "balance")}
    recipe = replace(RECIPES[network], **lengths)
    # The variety of digits is made of digits.
    return recipe if read.classes == splits.MNIST_CLASSES else replace(recipe, variety=0.0)


def _normalisation(network: str, read: TrainingData, initial: Learned | Pretrained | None) -> Mapping[str, Any]:
    """Return the network's arguments `mean` and `std`; nothing where its defaults are made for these images."""
    if isinstance(initial, Pretrained):
        return initial.normalisation
    if networks.load(network).preprocessing and (read.data_set.tuned or read.preprocessing.reads_digits):
        return {}
    mean, std = splits.moments(read.training)
    return {"mean": mean, "std": std}


def _notes(config: Configuration, recipe: Recipe, read: TrainingData, fonts: tuple[Path, ...]) -> Iterator[str]:
    yield from read.notes
    counts = read.training.counts(len(read.classes))
    times = max(counts) / max(1, min(counts))
    if times >= UNEQUAL:
        weighed = "; an image of a small class counts for more" if recipe.balance else ""
        yield f"The classes are unequal: the largest has {times:.1f} times the images of the smallest{weighed}."
    if recipe.augmentation and config.flip is None and not read.data_set.tuned and config.architecture not in RECIPES:
        flips = recipe.augmentation.flip
        yield (
            "Left and right are alike in these pictures: half of them are mirrored in training; --no-flip mirrors none."
            if flips
            else "Left and right differ in these pictures: none is mirrored in training; --flip mirrors half of them."
        )
    if recipe.variety and read.preprocessing.reads_digits and not fonts:
        yield "There are no fonts here, so no printed digits among the variety; --fonts names a folder of some."


def synthetic_images(setup: TrainingSetup, seed: int, on_progress: Callable[[int, int], None]) -> Split | None:
    """Make the pool of other images that a recipe asks for; None where it asks for none.

    Args:
        material: Its training images are what the pool is made of.
        seed: Of all draws.
        on_progress: Called with how many images there are, and how many there will be.
    """
    recipe, training = setup.recipe, setup.data.training
    if not recipe.variety:
        return None
    if not setup.data.preprocessing.reads_digits:
        return out_of_distribution.make(training, len(setup.data.classes), recipe.pool or len(training), seed)
    return pool.make(
        training,
        recipe.pool or len(training),
        recipe.outliers,
        seed,
        setup.data.preprocessing,
        fonts=setup.fonts,
        on_progress=on_progress,
    )


def _check_output(output: Path) -> None:
    if not output.is_dir():
        check_output(output)
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


def _fonts(folder: Path | None) -> tuple[Path, ...]:
    if folder is not None and not folder.exists():
        raise DatasetError(f"{missing(folder)} --fonts names a folder of .ttf or .otf files.")
    found = printed.find_fonts(folder or printed.FOLDER)
    if folder is not None and not found:
        raise DatasetError(f"{folder} holds no font with ten digits; --fonts names a folder of .ttf or .otf files.")
    return found


def _content_digest(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
