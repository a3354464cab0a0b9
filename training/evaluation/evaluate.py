"""Evaluation of one checkpoint, or of two, on labelled images, and of one on pictures of none of its classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pigeonhole.errors import CheckpointError, DatasetError, ErrorKind
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Checkpoint
from training import environment
from training.datasets import registry
from training.datasets.data_set import DataSet, Failure, LabelledImages
from training.datasets.splits import Split
from training.evaluation import measure, outliers
from training.evaluation.compared import LETTERS, Compared, reorder
from training.evaluation.measure import Evaluated
from training.evaluation.outliers import Kind
from training.loop import epochs

OUTLIERS = "outliers"  # a folder of kinds of pictures of none of the classes, in place of a data set's scheme


@dataclass(frozen=True)
class Tried:
    """A checkpoint on pictures of none of its classes.

    Args:
        checkpoint: Description of the checkpoint.
        kinds: How many pictures of each kind are caught.
        failed: Path and error of each file that could not be read.
    """

    checkpoint: Checkpoint
    kinds: tuple[Kind, ...]
    failed: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain JSON values."""
        return {
            "checkpoint": {"name": self.checkpoint.name, "digest": self.checkpoint.digest},
            "kinds": [kind.to_json() for kind in self.kinds],
            "failed": [{"path": path, "error": error} for path, error in self.failed],
        }


def find(dataset: str | None, data: Path | None) -> tuple[DataSet, bool]:
    """Return the data set to evaluate on, and whether its classes are kinds of outliers.

    Args:
        dataset: Name of the data set, or "outliers" and perhaps a colon and a folder; None to look at `data`.
        data: Path of the data set if the name has none; None for `data` in the working folder.

    Raises:
        DatasetError: There is no such data set, or both arguments give a path.
    """
    recognised = (scheme for scheme in registry.KINDS if registry.kind(scheme).recognises(data or Path("data")))
    name = dataset or next(recognised, registry.DEFAULT)
    scheme, colon, path = name.partition(":")
    outliers = scheme == OUTLIERS
    return registry.find(f"folder{colon}{path}" if outliers else name, data), outliers


def evaluate(path: Path, data_set: DataSet, device: str = "auto") -> Evaluated:
    """Measure a checkpoint on a data set's labelled images.

    Args:
        path: Path of the checkpoint.
        data_set: Data set of some of the checkpoint's classes.
        device: "auto", "cpu" or "cuda".

    Returns:
        The figures, with the images.

    Raises:
        TrainingError: The checkpoint, the data or the device won't do.
    """
    chosen = environment.device(device)
    described, network = checkpoint.load(path, chosen)
    read = _read(data_set, described.classes, described)
    return _measured(described, network, read, described.classes, chosen)


def compare(paths: tuple[Path, Path], data_set: DataSet, device: str = "auto") -> Compared:
    """Measure two checkpoints on the same images, each in its own preprocessing.

    Args:
        paths: Paths of the checkpoints, which have the same classes, in any order.
        data_set: Data set of some of these classes.
        device: "auto", "cpu" or "cuda".

    Returns:
        Figures of each, on the images that both can read.

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
    reads = [_read(data_set, first.classes, first)]
    same = first.preprocessing == second.preprocessing
    reads.append(reads[0] if same else _read(data_set, first.classes, second))
    there = {*reads[1].names}
    common = [name for name in reads[0].names if name in there]
    if not common:
        raise DatasetError(f"{data_set.name} holds no image that both checkpoints can read.")
    a, b = (
        _measured(described, network, _only(read, common), first.classes, chosen)
        for (described, network), read in zip(pair, reads, strict=True)
    )
    unread_by: dict[tuple[str, str], str] = {}
    for letter, read in zip(LETTERS, reads, strict=True):
        for failure in _said(read.failed):
            unread_by[failure] = unread_by.get(failure, "") + letter
    return Compared((a, b), tuple((*failure, letters) for failure, letters in unread_by.items()))


def _read(data_set: DataSet, classes: tuple[str, ...], about: Checkpoint) -> LabelledImages:
    """Read images as a checkpoint sees them, labelled by `classes`, which are the checkpoint's in any order."""
    foreign = [name for name in data_set.classes if name not in classes]
    if foreign:
        raise DatasetError(
            f"{data_set.name} has a class {foreign[0]!r}, which {about.name} does not know; its classes are: "
            f"{', '.join(classes)}."
        )
    read = data_set.labelled(about.preprocessing)
    places = torch.tensor([classes.index(name) for name in data_set.classes])
    return replace(read, split=Split(read.split.images, places[read.split.labels]))


def _only(read: LabelledImages, names: Sequence[str]) -> LabelledImages:
    """Return the images of some names, in the order of the names."""
    if names == [*read.names]:
        return read  # as it is, without a copy of the images
    places = {name: place for place, name in enumerate(read.names)}
    return replace(read, split=read.split.take(torch.tensor([places[name] for name in names])), names=tuple(names))


def _measured(
    described: Checkpoint, network: nn.Module, read: LabelledImages, classes: tuple[str, ...], device: str
) -> Evaluated:
    logits = reorder(epochs.predict(network, read.split.images.to(device)), described.classes, classes)
    report = measure.measure(logits, read.split.labels, classes, described.calibration)
    return Evaluated(described, read.source, report, read.split.images, read.names, _said(read.failed))


def try_outliers(path: Path, data_set: DataSet, device: str = "auto") -> Tried:
    """Measure what a checkpoint makes of pictures of none of its classes.

    Args:
        path: Path of the checkpoint.
        data_set: Data set whose classes are the kinds of such pictures.
        device: "auto", "cpu" or "cuda".

    Returns:
        How many of each kind are caught.

    Raises:
        TrainingError: The checkpoint, the data or the device won't do.
    """
    chosen = environment.device(device)
    described, network = checkpoint.load(path, chosen)
    read = data_set.labelled(described.preprocessing)
    logits = epochs.predict(network, read.split.images.to(chosen))
    # A blank picture is caught already: it becomes an error row. Other failures say nothing of the network.
    blank = [failure.label for failure in read.failed if failure.error.kind is ErrorKind.BLANK]
    kinds = outliers.measure(logits, read.split.labels, data_set.classes, blank, described)
    return Tried(described, kinds, _said(one for one in read.failed if one.error.kind is not ErrorKind.BLANK))


def _said(failed: Iterable[Failure]) -> tuple[tuple[str, str], ...]:
    return tuple((failure.path, str(failure.error)) for failure in failed)
