"""The choice of what a training is on: its data set, the division of it, and a person's corrections."""

import os
from dataclasses import dataclass
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
    """What a training is on.

    Args:
        data_set: The data set.
        share: Share of the training images that is kept for validation.
        seed: Seed of the validation split.
        corrections: CSV files of a person's labels; the later wins.
    """

    data_set: DataSet
    share: float
    seed: int
    corrections: tuple[Path, ...]

    def read(self, options: ReadOptions) -> TrainingData:
        """Read the data set and apply the corrections.

        Raises:
            TrainingError: They can't be read, or are too few to train on.
        """
        found = self.data_set.read(options)
        if not self.corrections:
            return found
        given = [corrections.read(file, found.classes, self.data_set.folder) for file in self.corrections]
        return corrections.bring(given, found, options.scratch)

    def deciding(self, seed: int) -> dict[str, Any]:
        """Return what decides on the data, as JSON values, in a training of a seed."""
        return {
            "validation": self.share,
            **({"division_seed": self.seed} if self.seed != seed else {}),
            **({"corrections": [str(file) for file in self.corrections]} if self.corrections else {}),
        }


def select(config: Configuration, parent: Checkpoint | None) -> Selection:
    """Choose the data set, its division and the corrections.

    On the data set of a checkpoint, training keeps that checkpoint's corrections and division: what it has learned is
    not validated on.

    Args:
        config: Training configuration.
        parent: Checkpoint that the training begins with.

    Raises:
        DatasetError: The options contradict each other or the checkpoint.
    """
    if config.corrections and parent is None:
        raise DatasetError("--corrections mend what a checkpoint has learned; name it with --from CHECKPOINT.")
    recorded = _recorded(parent) if parent else None
    data_set = registry.find(config.dataset or recorded or _default(parent), config.data)
    learned = parent if parent and data_set.name == recorded else None
    share, seed = _division(config, learned)
    earlier = learned.trained.get("corrections", ()) if learned else ()
    files = [*map(Path, earlier), *([Path(os.path.abspath(config.corrections))] if config.corrections else [])]
    last_of_each = tuple(reversed(dict.fromkeys(reversed(files))))
    return Selection(data_set, share, seed, last_of_each)


def _division(config: Configuration, learned: Checkpoint | None) -> tuple[float, int]:
    """Return share and seed of the validation split: those of the checkpoint that has learned the data set."""
    if learned:
        share = learned.trained.get("validation", SHARE)
        seed = learned.trained.get("division_seed", learned.trained.get("seed", 0))
        if config.validation not in (None, share):
            raise DatasetError(
                f"{learned.name} was trained on this data set with {share} of it kept to validate on, and stays so: "
                "leave --validation out."
            )
        return share, seed
    share = SHARE if config.validation is None else config.validation
    if not 0 < share < 1:
        raise DatasetError(f"The share for validation must be above 0 and below 1, not {share}.")
    return share, config.seed


def _recorded(checkpoint: Checkpoint) -> str | None:
    """Return the data set that a checkpoint records; None if its kind is unknown."""
    name = checkpoint.trained.get("dataset")
    return name if isinstance(name, str) and name.partition(":")[0] in registry.KINDS else None


def _default(parent: Checkpoint | None) -> str:
    if parent is None or parent.classes == registry.find(registry.DEFAULT).classes:
        return registry.DEFAULT
    raise DatasetError(f"{parent.name} does not say what it was trained on; name that with --dataset folder:DIR.")
