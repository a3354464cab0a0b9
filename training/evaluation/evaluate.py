"""Evaluation, whole: figures of one checkpoint, or of two, on labelled images, and on pictures of something else.

What is said is the caller's business.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pigeonhole.errors import CheckpointError, DatasetError, ErrorKind, ImageError
from pigeonhole.files import shown
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Checkpoint
from training import environment
from training.datasets import splits
from training.datasets.splits import Split
from training.evaluation import measure, outliers
from training.evaluation.compared import LETTERS, Compared, reorder
from training.evaluation.measure import Evaluated
from training.evaluation.outliers import Kind
from training.loop import epochs


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


@dataclass(frozen=True)
class _Labelled:
    """Labelled images as a checkpoint sees them.

    Args:
        source: What they are, for people.
        split: The images; labels are indices of the classes that were asked for.
        names: Of each image.
        failed: Name and error of each that could not be read.
    """

    source: str
    split: Split
    names: tuple[str, ...]
    failed: tuple[tuple[str, str], ...] = ()


def holds(source: Path) -> str:
    """What to take a folder for where nobody says it: "folder" if it holds folders, but MNIST's; else "mnist"."""
    if not source.is_dir() or (source / "MNIST" / "raw").is_dir():
        return "mnist"
    return "folder" if splits.folders(source) else "mnist"


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
    read = _read(source, dataset, described.classes, described)
    return _measured(described, network, read, described.classes, chosen)


def compare(paths: tuple[Path, Path], source: Path, dataset: str, device: str = "auto") -> Compared:
    """Measure two checkpoints on the same images, each in its own preprocessing.

    Args:
        paths: Of the checkpoints, which tell apart the same classes, in any order.
        source: The folder.
        dataset: "mnist" or "folder".
        device: "auto", "cpu" or "cuda".

    Returns:
        What each came to, on those images that both can read.

    Raises:
        TrainingError: A checkpoint, the data or the device won't do.
    """
    chosen = environment.device(device)
    pair = [checkpoint.load(path, chosen) for path in paths]
    first, second = (described for described, _network in pair)
    if sorted(first.classes) != sorted(second.classes):
        only = [sorted({*one.classes} - {*other.classes}) for one, other in ((first, second), (second, first))]
        which = "; ".join(
            f"only {path} knows {', '.join(names)}" for path, names in zip(paths, only, strict=True) if names
        )
        raise CheckpointError(f"The checkpoints tell apart different classes, and can't be compared: {which}.")
    reads = [_read(source, dataset, first.classes, first)]
    same = first.preprocessing == second.preprocessing
    reads.append(reads[0] if same else _read(source, dataset, first.classes, second))
    there = {*reads[1].names}
    common = [name for name in reads[0].names if name in there]
    if not common:
        raise DatasetError(f"{source} holds no image that both checkpoints can read.")
    a, b = (
        _measured(described, network, _only(read, common), first.classes, chosen)
        for (described, network), read in zip(pair, reads, strict=True)
    )
    unread_by: dict[tuple[str, str], str] = {}
    for letter, read in zip(LETTERS, reads, strict=True):
        for failure in read.failed:
            unread_by[failure] = unread_by.get(failure, "") + letter
    return Compared((a, b), tuple((*failure, letters) for failure, letters in unread_by.items()))


def _read(source: Path, dataset: str, classes: tuple[str, ...], about: Checkpoint) -> _Labelled:
    """Read images as a checkpoint sees them, their labels by `classes`, which are its own in any order."""
    if dataset == "mnist":
        if sorted(classes) != sorted(splits.MNIST_CLASSES):
            raise CheckpointError(f"{about.name} tells apart {', '.join(classes)}, not MNIST's digits 0 to 9.")
        split = splits.mnist(source, "test", about.preprocessing)
        labels = torch.tensor([classes.index(digit) for digit in splits.MNIST_CLASSES])[split.labels]
        return _Labelled(splits.MNIST_TEST, Split(split.images, labels), splits.test_names(len(split)))
    test = source / "test"
    # A folder that was trained on, with parts: what was kept to measure with.
    if (source / "train").is_dir() and test.is_dir() and "test" not in classes:
        source = test
    read = splits.folder(source, classes, about.preprocessing)
    names = tuple(str(path.relative_to(source)) for path in read.paths)
    return _Labelled(f"the images in {source}", read.split, names, _said(read.failed))


def _only(read: _Labelled, names: Sequence[str]) -> _Labelled:
    """The part of these names, in their order."""
    if names == [*read.names]:
        return read  # as it is, without a copy of the images
    places = {name: place for place, name in enumerate(read.names)}
    return replace(read, split=read.split.take(torch.tensor([places[name] for name in names])), names=tuple(names))


def _measured(
    described: Checkpoint, network: nn.Module, read: _Labelled, classes: tuple[str, ...], device: str
) -> Evaluated:
    logits = reorder(epochs.predict(network, read.split.images.to(device)), described.classes, classes)
    report = measure.measure(logits, read.split.labels, classes, described.calibration)
    return Evaluated(described, read.source, report, read.split.images, tuple(map(shown, read.names)), read.failed)


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
    kinds = tuple(splits.folders(source))
    if not kinds:
        raise DatasetError(f"{source} has no folders; it needs one for each kind of pictures that are no class.")
    read = splits.folder(source, kinds, described.preprocessing)
    logits = epochs.predict(network, read.split.images.to(chosen))
    # Nothing to look at is caught already: it becomes an error row, not a label. The rest says nothing of the network.
    blank = outliers.blank_kinds(read.failed, source)
    unreadable = _said((path, error) for path, error in read.failed if error.kind is not ErrorKind.BLANK)
    return Tried(described, outliers.measure(logits, read.split.labels, kinds, blank, described), unreadable)


def _said(failed: Iterable[tuple[Path, ImageError]]) -> tuple[tuple[str, str], ...]:
    return tuple((shown(path), str(error)) for path, error in failed)
