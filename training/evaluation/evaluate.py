"""The evaluation of one or two checkpoints on labelled images, and of one on out-of-distribution images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pigeonhole.errors import CheckpointError, DatasetError, ErrorKind
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.text import similar
from training.datasets import registry, selection
from training.datasets.data_set import DataSet, Failure, LabelledImages
from training.datasets.splits import Split
from training.evaluation import held_out, measure, outliers
from training.evaluation.compared import LETTERS, Compared, reorder
from training.evaluation.measure import Evaluated
from training.evaluation.outliers import Kind

_AT_ONCE = 256  # images in a batch, the worker's default
OUTLIERS = "outliers"  # scheme of a folder with one folder for each kind of out-of-distribution images


@dataclass(frozen=True)
class CaughtOutliers:
    """The out-of-distribution images that a checkpoint catches.

    Args:
        checkpoint: Description of the checkpoint.
        kinds: Numbers of caught images of each kind.
        failed: Path and error of each file that could not be read.
    """

    checkpoint: Checkpoint
    kinds: tuple[Kind, ...]
    failed: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {
            "checkpoint": {"name": self.checkpoint.name, "digest": self.checkpoint.digest},
            "kinds": [kind.to_json() for kind in self.kinds],
            "failed": [{"path": path, "error": error} for path, error in self.failed],
        }


def find(dataset: str | None, data: Path | None, about: Checkpoint) -> tuple[DataSet, bool]:
    """Return the data set to evaluate on, and whether its classes are kinds of outliers.

    Args:
        dataset: Name of the data set, or "outliers", optionally with a colon and a folder; None to inspect `data`.
        data: Path of the data set if the name has none; None for the data set that the checkpoint was trained on, or
            `data` in the working folder.
        about: Record of the checkpoint.

    Raises:
        DatasetError: There is no such data set, or both arguments have a path.
    """
    name = registry.name_of(dataset, data, selection.recorded_name(about))
    if name is None:
        raise DatasetError(f"Name the images to evaluate {about.name} on with --data PATH: {registry.NEEDED}.")
    scheme, colon, path = name.partition(":")
    if scheme not in (*registry.KINDS, OUTLIERS) and similar(scheme, [OUTLIERS]):
        raise DatasetError(f"There is no data set {name!r}: did you mean {OUTLIERS}?")
    outliers = scheme == OUTLIERS
    return registry.find(f"folder{colon}{path}" if outliers else name, data), outliers


def evaluate(path: Path, data_set: DataSet, settings: Settings | None = None) -> Evaluated:
    """Measure a checkpoint on a data set's labelled images.

    Args:
        path: Path of the checkpoint.
        data_set: Data set whose classes are all classes of the checkpoint.
        settings: Settings `runtime`, `precision` and `device`, as for a worker; None for the defaults.

    Returns:
        The figures, with the images.

    Raises:
        UsageError: The checkpoint, the data, the runtime or the device can't be used.
    """
    classifier = Classifier.load(path, settings or Settings())
    classes = classifier.checkpoint.classes
    return _measured(classifier, _read(data_set, classes, classifier.checkpoint), classes)


def compare(paths: tuple[Path, Path], data_set: DataSet, settings: Settings | None = None) -> Compared:
    """Measure two checkpoints on the same images, each in its own preprocessing.

    Args:
        paths: Paths of the checkpoints, which have the same classes, in any order.
        data_set: Data set whose classes are all classes of the checkpoints.
        settings: Settings `runtime`, `precision` and `device`, as for a worker; None for the defaults.

    Returns:
        Figures of each, on the images that both can read.

    Raises:
        TrainingError: A checkpoint, the data or the device can't be used.
    """
    pair = [Classifier.load(path, settings or Settings()) for path in paths]
    first, second = (classifier.checkpoint for classifier in pair)
    if sorted(first.classes) != sorted(second.classes):
        only = [sorted({*one.classes} - {*other.classes}) for one, other in ((first, second), (second, first))]
        which = "; ".join(
            f"only {path} has {', '.join(names)}" for path, names in zip(paths, only, strict=True) if names
        )
        raise CheckpointError(f"The checkpoints have different classes and can't be compared: {which}.")
    reads = [_read(data_set, first.classes, first)]
    same = first.preprocessing == second.preprocessing and held_out.same_training_images(first, second)
    reads.append(reads[0] if same else _read(data_set, first.classes, second))
    there = {*reads[1].names}
    common = [name for name in reads[0].names if name in there]
    if not common:
        raise DatasetError(f"{data_set.name} holds no image that both checkpoints can read and neither was trained on.")
    a, b = (
        _measured(classifier, _only(read, common), first.classes) for classifier, read in zip(pair, reads, strict=True)
    )
    unread_by: dict[tuple[str, str], str] = {}
    for letter, read in zip(LETTERS, reads, strict=True):
        for failure in _messages(read.failed):
            unread_by[failure] = unread_by.get(failure, "") + letter
    return Compared((a, b), tuple((*failure, letters) for failure, letters in unread_by.items()))


def _read(data_set: DataSet, classes: tuple[str, ...], about: Checkpoint) -> LabelledImages:
    """Read images in a checkpoint's preprocessing; labels are indices of `classes`, the checkpoint's in any order."""
    _check_single_label(about)
    foreign = [name for name in data_set.classes if name not in classes]
    if foreign:
        raise DatasetError(
            f"{data_set.name} has a class {foreign[0]!r}, which {about.name} does not have; its classes are: "
            f"{', '.join(classes)}."
        )
    read = held_out.read(data_set, about)
    places = torch.tensor([classes.index(name) for name in data_set.classes])
    return replace(read, split=Split(read.split.images, places[read.split.labels]))


def _check_single_label(about: Checkpoint) -> None:
    """Raise CheckpointError for a multi-label model: a data set has one label for each image."""
    if about.calibration.thresholds is not None:
        raise CheckpointError(
            f"{about.name} is a multi-label model, which can't be evaluated: a data set has one label for each image. "
            "Compare its rows with your labels instead (`classify … -o FILE.jsonl`)."
        )


def _only(read: LabelledImages, names: Sequence[str]) -> LabelledImages:
    """Return the images with these names, in the order of the names."""
    if names == [*read.names]:
        return read  # without a copy of the images
    places = {name: place for place, name in enumerate(read.names)}
    return replace(read, split=read.split.take(torch.tensor([places[name] for name in names])), names=tuple(names))


def _measured(classifier: Classifier, read: LabelledImages, classes: tuple[str, ...]) -> Evaluated:
    described = classifier.checkpoint
    logits = reorder(_logits(classifier, read.split.images), described.classes, classes)
    report = measure.measure(logits, read.split.labels, classes, described.calibration)
    return Evaluated(described, read.source, report, read.split.images, read.names, _messages(read.failed), read.note)


def evaluate_outliers(path: Path, data_set: DataSet, settings: Settings | None = None) -> CaughtOutliers:
    """Count the out-of-distribution images that a checkpoint catches.

    Args:
        path: Path of the checkpoint.
        data_set: Data set whose classes are the kinds of such images.
        settings: Settings `runtime`, `precision` and `device`, as for a worker; None for the defaults.

    Returns:
        The numbers for each kind.

    Raises:
        UsageError: The checkpoint, the data, the runtime or the device can't be used.
    """
    classifier = Classifier.load(path, settings or Settings())
    described = classifier.checkpoint
    _check_single_label(described)
    read = data_set.labelled(described.preprocessing)
    logits = _logits(classifier, read.split.images)
    # A blank image counts as caught, since it becomes an error row. Other failures do not depend on the network.
    blank = [failure.label for failure in read.failed if failure.error.kind is ErrorKind.BLANK]
    kinds = outliers.measure(logits, read.split.labels, data_set.classes, blank, described)
    return CaughtOutliers(
        described, kinds, _messages(one for one in read.failed if one.error.kind is not ErrorKind.BLANK)
    )


def _logits(classifier: Classifier, images: Tensor) -> Tensor:
    """Run a model over any number of images, as a worker does: uint8 [N, H, W, C] → float32 [N, L]."""
    parts = (classifier.runtime.logits(part.numpy()) for part in torch.split(images, _AT_ONCE))
    return torch.cat([torch.from_numpy(part) for part in parts])


def _messages(failed: Iterable[Failure]) -> tuple[tuple[str, str], ...]:
    return tuple((failure.path, str(failure.error)) for failure in failed)
