"""Evaluation, whole: a checkpoint's figures on labelled images, and on pictures of something else.

What is said is the caller's business.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import checkpoint, data, environment, loop
from training.checkpoint import Checkpoint
from training.errors import CheckpointError, DatasetError, ImageError
from training.report import measure, outliers
from training.report.measure import Evaluated
from training.report.outliers import Kind


@dataclass(frozen=True)
class Tried:
    """A checkpoint on pictures that are none of its classes.

    Args:
        checkpoint: Its description.
        kinds: What became of each kind.
        failed: Path and error of each file that could not be read.
    """

    checkpoint: Checkpoint
    kinds: tuple[Kind, ...]
    failed: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "checkpoint": {"name": self.checkpoint.name, "digest": self.checkpoint.digest},
            "kinds": [kind.to_json() for kind in self.kinds],
            "failed": [{"path": path, "error": error} for path, error in self.failed],
        }


def evaluate(path: Path, source: Path, dataset: str, device: str = "auto") -> Evaluated:
    """Measure a checkpoint on MNIST's test images or on a folder of class folders.

    Args:
        path: Of the checkpoint.
        source: The folder.
        dataset: "mnist" or "folder".
        device: "auto", "cpu" or "cuda".

    Returns:
        The figures, with the images.

    Raises:
        TrainingError: The checkpoint, the data or the device won't do.
    """
    chosen = environment.device(device)
    described, network = checkpoint.load(path, chosen)
    failed: tuple[tuple[str, str], ...] = ()
    if dataset == "mnist":
        if described.classes != data.MNIST_CLASSES:
            raise CheckpointError(f"{path} tells apart {', '.join(described.classes)}, not MNIST's digits 0 to 9.")
        split = data.mnist(source, "test", described.preprocessing)
        what, names = data.MNIST_TEST, data.test_names(len(split))
    else:
        read = data.folder(source, described.classes, described.preprocessing)
        split, failed = read.split, _said(read.failed)
        what, names = f"the images in {source}", tuple(_shown(path.relative_to(source)) for path in read.paths)
    logits = loop.predict(network, split.images.to(chosen))
    report = measure.measure(logits, split.labels, described.classes, described.calibration)
    return Evaluated(described, what, report, split.images, names, failed)


def try_outliers(path: Path, source: Path, device: str = "auto") -> Tried:
    """Tell what a checkpoint makes of pictures that are none of its classes.

    Args:
        path: Of the checkpoint.
        source: Holds one folder for each kind of such pictures.
        device: "auto", "cpu" or "cuda".

    Returns:
        What is caught of each kind.

    Raises:
        TrainingError: The checkpoint, the folder or the device won't do.
    """
    chosen = environment.device(device)
    described, network = checkpoint.load(path, chosen)
    kinds = tuple(data.folders(source))
    if not kinds:
        raise DatasetError(f"{source} has no folders; it needs one for each kind of pictures that are no class.")
    read = data.folder(source, kinds, described.preprocessing)
    logits = loop.predict(network, read.split.images.to(chosen))
    # Nothing to look at is caught already: it becomes an error row, not a label. The rest says nothing of the network.
    blank = [path.relative_to(source).parts[0] for path, error in read.failed if error.kind == "blank"]
    unreadable = _said((path, error) for path, error in read.failed if error.kind != "blank")
    return Tried(described, outliers.measure(logits, read.split.labels, kinds, blank, described), unreadable)


def _said(failed: Iterable[tuple[Path, ImageError]]) -> tuple[tuple[str, str], ...]:
    return tuple((_shown(path), str(error)) for path, error in failed)


def _shown(path: Path) -> str:
    """A path as text that any output takes: bytes that are not UTF-8 show as such."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
