"""The preparation of a training: it reads and checks everything that the configuration names, before hours of work."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pigeonhole.errors import CheckpointError, DatasetError, TrainingError
from pigeonhole.filesystem.nearby import missing
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks import vision
from pigeonhole.models.output_names import check_output, model_name
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

UNEQUAL = 2.0  # ratio of the largest class to the smallest from which on the user gets a notice


@dataclass(frozen=True)
class TrainingSetup:
    """Everything that a training needs.

    Args:
        network: Name of the network.
        recipe: Hyper-parameters of the training.
        arguments: Arguments of the network, as the checkpoint records them.
        data: Images to train and measure on.
        fonts: Font files for the synthetic data.
        initial_weights: Weights to start from; None for random ones.
        device: Name of the device in torch.
        identity: JSON values that determine the resulting weights, together with the machine and the versions.
        overrides: Values of the recipe that are not the default, by name.
        notes: Notices for the user.
        seconds: Time that reading took, in seconds.
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
        """Return the number of logits of the network."""
        return len(self.data.classes) + self.recipe.outlier


def gather(config: Configuration, on_progress: Progress | None = None) -> TrainingSetup:
    """Read the data and everything else that a configuration names.

    Args:
        config: Training configuration.
        on_progress: Called with the number of files read and the number of all files.

    Raises:
        TrainingError: The data, the device, the name or the output can't be used.
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
    if recipe.synthetic and not recipe.outliers and not read.preprocessing.reads_digits:
        raise TrainingError(
            "outliers is 0, but all synthetic images for this data set are out-of-distribution; give --no-synthetic, "
            "or set outliers above 0."
        )
    fonts = _fonts(config.fonts) if recipe.synthetic and read.preprocessing.reads_digits else ()
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
    """Check everything that needs no data, and return the recipe's values that the user gave.

    Raises:
        TrainingError: The output, the name or a value of the recipe can't be used.
    """
    _check_output(config.output)
    model_name(config.name, config.output)
    return overrides.read(config.recipe, config.settings or ())


def _initial_weights(config: Configuration) -> Learned | Pretrained | None:
    if config.pretrained and config.initial_weights:
        raise TrainingError("--pretrained and --from both name initial weights; leave one of them out.")
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
        config.amended(plan(config.architecture).recipe)  # wrong options are refused before the data are read
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
    # The synthetic data of networks for digits need MNIST's classes.
    return recipe if read.classes == splits.MNIST_CLASSES else replace(recipe, synthetic=0.0)


def _normalisation(network: str, read: TrainingData, initial: Learned | Pretrained | None) -> Mapping[str, Any]:
    """Return the network's arguments `mean` and `std`; nothing if its defaults fit these images."""
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
    if recipe.synthetic and read.preprocessing.reads_digits and not fonts:
        yield "No fonts were found, so the synthetic data have no printed digits; --fonts names a folder of fonts."


def synthetic_images(setup: TrainingSetup, seed: int, on_progress: Callable[[int, int], None]) -> Split | None:
    """Return the pool of synthetic images for a recipe; None if the recipe has none.

    Args:
        setup: Training whose images the pool is made from.
        seed: Seed of all random draws.
        on_progress: Called with the number of images made and the number of all images.
    """
    recipe, training = setup.recipe, setup.data.training
    if not recipe.synthetic:
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
        raise CheckpointError(f"{output.parent} is not a folder; create it, or choose another -o.")
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
