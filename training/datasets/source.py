"""Which data a training is on: as asked for, or as the checkpoint was trained on that it begins with."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pigeonhole.errors import DatasetError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.checkpoint import Checkpoint
from training.configuration import Order
from training.datasets import corrections, kinds, splits
from training.datasets.kinds import DataSet, Progress

SHARE = 0.1  # of the training images, to validate on


@dataclass(frozen=True)
class Source:
    """Where the data come from.

    Args:
        dataset: "mnist", or "folder:" and the folder's absolute path.
        mnist: The folder that holds MNIST, where it is that.
        share: Of the training images, to validate on.
        seed: Of that division.
        corrections: Files of a person's labels; the later wins.
    """

    dataset: str
    mnist: Path
    share: float
    seed: int
    corrections: tuple[Path, ...]

    def read(
        self, preprocessing: Preprocessing | None, size: int | None, scratch: Path, on_progress: Progress | None
    ) -> DataSet:
        """Read the data.

        Args:
            preprocessing: What every image goes through; None to choose it by a folder's pictures.
            size: Where it is chosen, the shorter side in pixels; None to choose that too.
            scratch: A folder for decoded pictures, which take files without a name there.
            on_progress: Called with the files read so far, and how many there are.

        Raises:
            TrainingError: They won't do.
        """
        folder = kinds.folder_of(self.dataset)
        if folder is None:
            assert preprocessing is not None
            found = kinds.of_mnist(self.mnist, preprocessing, self.share, self.seed)
        else:
            found = kinds.of_folder(
                folder, preprocessing, size, self.share, self.seed, scratch, on_progress=on_progress
            )
        if not self.corrections:
            return found
        folders = (self.mnist,) if folder is None else (folder,)
        given = [corrections.read(file, found.classes, folders) for file in self.corrections]
        return corrections.bring(given, found, scratch)

    def deciding(self, seed: int) -> dict[str, Any]:
        """What is to be said of it as JSON values, beside the data's own, in a training of that seed."""
        return {
            "validation": self.share,
            **({"division_seed": self.seed} if self.seed != seed else {}),
            **({"corrections": [str(file) for file in self.corrections]} if self.corrections else {}),
        }


def find(order: Order, parent: Checkpoint | None, teachers: Sequence[Checkpoint] = ()) -> Source:
    """Find out what a training is on.

    On the data that a checkpoint was trained on, it goes on with that one's corrections and with its division: what it
    has learned is not validated on. What a teacher has learned isn't either.

    Args:
        order: The training.
        parent: The checkpoint that the training begins with.
        teachers: Those that it learns from.

    Raises:
        DatasetError: What was asked for does not go together.
    """
    if order.corrections and parent is None:
        raise DatasetError("--corrections mend what a checkpoint has learned; name it with --from CHECKPOINT.")
    recorded = _recorded(parent) if parent else None
    name = kinds.canonical(order.dataset or recorded or _default(parent))
    if name != kinds.MNIST and order.data is not None:
        raise DatasetError(f"--data is for MNIST, and this training is on {name}; leave --data out.")
    learned = [one for one in (*([parent] if parent else []), *teachers) if _recorded(one) == name]
    divisions = {division(one): one.name for one in learned}
    if len(divisions) > 1:
        raise DatasetError(
            f"{' and '.join(divisions.values())} divided this data set differently, so what one was validated on "
            "another has learned; name checkpoints of the same --validation and --validation-seed."
        )
    share, seed = order.validation, order.validation_seed
    for (theirs, their_seed), who in divisions.items():
        if share not in (None, theirs) or seed not in (None, their_seed):
            raise DatasetError(
                f"{who} was trained on this data set with {theirs} of it kept to validate on, by seed {their_seed}, "
                "and stays so: leave --validation and --validation-seed out."
            )
        share, seed = theirs, their_seed
    earlier = [Path(file) for file in parent.trained.get("corrections", ())] if parent and name == recorded else []
    files = [*earlier, *([Path(os.path.abspath(order.corrections))] if order.corrections else [])]
    last_of_each = tuple(reversed(dict.fromkeys(reversed(files))))
    return Source(
        dataset=name,
        mnist=order.data or Path("data"),
        share=SHARE if share is None else share,
        seed=order.seed if seed is None else seed,
        corrections=last_of_each,
    )


def division(learned: Checkpoint) -> tuple[float, int]:
    """The share that a checkpoint was validated on, and the seed of the division."""
    values = learned.trained
    return values.get("validation", SHARE), values.get("division_seed", values.get("seed", 0))


def _recorded(parent: Checkpoint) -> str | None:
    """What a checkpoint says that it was trained on; None where it says nothing that is known here."""
    name = parent.trained.get("dataset")
    return name if isinstance(name, str) and kinds.is_name(name) else None


def _default(parent: Checkpoint | None) -> str:
    if parent is None or parent.classes == splits.MNIST_CLASSES:
        return kinds.MNIST
    raise DatasetError(f"{parent.name} does not say what it was trained on; name that with --dataset folder:DIR.")
