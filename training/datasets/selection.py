"""The choice of what a training is on: its data set, the division of it, and a person's corrections."""

import os
from collections.abc import Sequence
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


def select(config: Configuration, parent: Checkpoint | None, teachers: Sequence[Checkpoint] = ()) -> Selection:
    """Choose the data set, its division and the corrections.

    On the data set of a checkpoint, training keeps that checkpoint's corrections and division: what it has learned is
    not validated on. The same holds for the division of teachers.

    Args:
        config: Training configuration.
        parent: Checkpoint that the training begins with.
        teachers: Checkpoints that it learns from.

    Raises:
        DatasetError: The options contradict each other or the checkpoints.
    """
    if config.corrections and parent is None:
        raise DatasetError("--corrections mend what a checkpoint has learned; name it with --from CHECKPOINT.")
    recorded = _recorded(parent) if parent else None
    data_set = registry.find(config.dataset or recorded or _default(parent), config.data)
    learned = [one for one in (*([parent] if parent else []), *teachers) if _recorded(one) == data_set.name]
    share, seed = _division(config, learned)
    earlier = parent.trained.get("corrections", ()) if parent and data_set.name == recorded else ()
    files = [*map(Path, earlier), *([Path(os.path.abspath(config.corrections))] if config.corrections else [])]
    last_of_each = tuple(reversed(dict.fromkeys(reversed(files))))
    return Selection(data_set, share, seed, last_of_each)


def _division(config: Configuration, learned: Sequence[Checkpoint]) -> tuple[float, int]:
    """Return share and seed of the validation split: those that the checkpoints record, if there are any."""
    divisions = {
        (one.trained.get("validation", SHARE), one.trained.get("division_seed", one.trained.get("seed", 0))): one.name
        for one in learned
    }
    if len(divisions) > 1:
        raise DatasetError(
            f"{' and '.join(divisions.values())} divided this data set differently, so what one was validated on "
            "another has learned; name checkpoints of the same --validation and --validation-seed."
        )
    for (share, seed), who in divisions.items():
        if config.validation not in (None, share) or config.validation_seed not in (None, seed):
            raise DatasetError(
                f"{who} was trained on this data set with {share} of it kept to validate on, by seed {seed}, "
                "and stays so: leave --validation and --validation-seed out."
            )
        return share, seed
    share = SHARE if config.validation is None else config.validation
    if not 0 < share < 1:
        raise DatasetError(f"The share for validation must be above 0 and below 1, not {share}.")
    return share, config.seed if config.validation_seed is None else config.validation_seed


def _recorded(checkpoint: Checkpoint) -> str | None:
    """Return the data set that a checkpoint records; None if its kind is unknown."""
    name = checkpoint.trained.get("dataset")
    return name if isinstance(name, str) and name.partition(":")[0] in registry.KINDS else None


def _default(parent: Checkpoint | None) -> str:
    if parent is None or parent.classes == registry.find(registry.DEFAULT).classes:
        return registry.DEFAULT
    raise DatasetError(f"{parent.name} does not say what it was trained on; name that with --dataset folder:DIR.")
