"""The choice of the data of a training: its data set, the validation split, and a person's corrections."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pigeonhole.errors import DatasetError
from pigeonhole.models.checkpoint import Checkpoint
from training.configuration import Configuration
from training.datasets import corrections, registry
from training.datasets.data_set import DataSet, ReadOptions, TrainingData

SHARE = 0.1  # of the training images, to validate on


@dataclass(frozen=True)
class Selection:
    """The choice of the data of a training.

    Args:
        data_set: The data set.
        share: Share of the training images that is used for validation.
        seed: Seed of the validation split.
        corrections: CSV files of a person's labels; the last label of a picture wins.
    """

    data_set: DataSet
    share: float
    seed: int
    corrections: tuple[Path, ...]

    def read(self, options: ReadOptions) -> TrainingData:
        """Read the data set and apply the corrections.

        Raises:
            TrainingError: The data can't be read, or are too few to train on.
        """
        found = self.data_set.read(options)
        if not self.corrections:
            return found
        given = [corrections.read(file, found.classes, self.data_set.folder) for file in self.corrections]
        return corrections.apply(given, found, options.scratch)

    def identity(self, seed: int) -> dict[str, Any]:
        """Return JSON values that identify this choice in a training with a seed."""
        return {
            "validation": self.share,
            **({"division_seed": self.seed} if self.seed != seed else {}),
            **({"corrections": [str(file) for file in self.corrections]} if self.corrections else {}),
        }


def select(config: Configuration, parent: Checkpoint | None) -> Selection:
    """Choose the data set, its validation split and the corrections.

    If a training starts from a checkpoint and has the same data set, it keeps the corrections and the validation split
    of the checkpoint: images that the checkpoint was trained on must not be validated on.

    Args:
        config: Training configuration.
        parent: Checkpoint that the training starts from.

    Raises:
        DatasetError: The options contradict each other or the checkpoint.
    """
    if config.corrections and parent is None:
        raise DatasetError("--corrections needs the checkpoint to correct; name it with --from CHECKPOINT.")
    recorded = recorded_name(parent) if parent else None
    name = registry.name_of(config.dataset, config.data, recorded) or _default(parent)
    data_set = _found(name, config, parent)
    if parent and data_set.name == recorded:
        before = of_checkpoint(data_set, parent)
        if config.validation not in (None, before.share):
            raise DatasetError(
                f"{parent.name} was trained on this data set with a validation share of {before.share}, which can't "
                "change. Leave --validation out."
            )
    else:
        before = Selection(data_set, SHARE if config.validation is None else config.validation, config.seed, ())
        if not 0 < before.share < 1:
            raise DatasetError(f"The share for validation must be above 0 and below 1, not {before.share}.")
    added = [Path(os.path.abspath(config.corrections))] if config.corrections else []
    last_of_each = tuple(reversed(dict.fromkeys(reversed([*before.corrections, *added]))))
    return replace(before, corrections=last_of_each)


def of_checkpoint(data_set: DataSet, learned: Checkpoint) -> Selection:
    """Return the validation split and the corrections that a checkpoint was trained with.

    Args:
        data_set: Data set that the checkpoint was trained on.
        learned: Record of the checkpoint.
    """
    values = learned.trained
    seed = values.get("division_seed", values.get("seed", 0))
    return Selection(data_set, values.get("validation", SHARE), seed, tuple(map(Path, values.get("corrections", ()))))


def _found(name: str, config: Configuration, parent: Checkpoint | None) -> DataSet:
    """Return the data set of a name; an error says if the name comes from a checkpoint."""
    try:
        return registry.find(name, config.data)
    except DatasetError as exc:
        if parent is None or config.dataset or config.data:
            raise
        raise DatasetError(
            f"{parent.name} was trained on {name}, which can't be used: {exc} If it was moved, name its new path with "
            "--dataset."
        ) from exc


def recorded_name(checkpoint: Checkpoint) -> str | None:
    """Return the data set that a checkpoint records; None if its kind is unknown."""
    name = checkpoint.trained.get("dataset")
    return name if isinstance(name, str) and name.partition(":")[0] in registry.KINDS else None


def _default(parent: Checkpoint | None) -> str:
    if parent is None or parent.classes == registry.kind(registry.DEFAULT)(str(registry.FOLDER)).classes:
        return registry.DEFAULT
    raise DatasetError(f"{parent.name} records no data set; name one with --dataset folder:DIR.")
