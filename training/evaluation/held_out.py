"""The held-out images of a data set: those that a model was not trained on."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pigeonhole.errors import ErrorKind, ImageError, TrainingError
from pigeonhole.filesystem.files import shown
from pigeonhole.models.checkpoint import Checkpoint
from training.datasets import registry, selection
from training.datasets.data_set import DataSet, Failure, LabelledImages, ReadOptions, TrainingData
from training.datasets.files.distinct import TEST, LeftOut
from training.datasets.picture_files import PictureFiles

#: Keys of a model's record that identify its training images; models with equal values were trained on the same.
_IDENTITY = ("dataset", "data_digest", "validation", "seed", "division_seed", "corrections")


@dataclass(frozen=True)
class _Overlap:
    """The overlap of a data set with the one that a model was trained on.

    Args:
        whole: Whether both are the same data set.
        shared: Number of files that are in both.
    """

    whole: bool
    shared: int


def read(data_set: DataSet, about: Checkpoint) -> LabelledImages:
    """Read the images to evaluate a model on; of the data that it was trained on, only the validation part.

    If the validation part can't be determined, all images are read, and their `note` is a warning.

    Args:
        data_set: Data set to evaluate on.
        about: Record of the model.

    Raises:
        DatasetError: No image can be read.
    """
    if not isinstance(data_set, PictureFiles) or data_set.has_held_out_part:
        return data_set.labelled(about.preprocessing)
    overlap = _overlap(data_set, about)
    if overlap.whole or _may_be_a_copy(data_set, about):
        found = _divided(data_set, about)
        if found is not None and (overlap.whole or found.digest == about.trained.get("data_digest")):
            return _validation(found, about)
    labelled = data_set.labelled(about.preprocessing)
    if not overlap.shared:
        return labelled
    number = "all" if overlap.shared == len(data_set.pictures) else f"{overlap.shared:,}"
    note = (
        f"warning: {about.name} was trained with {number} of these {len(data_set.pictures):,} files "
        f"({about.trained['dataset']}): expect worse figures on new images"
    )
    return replace(labelled, note=note)


def same_training_images(one: Checkpoint, other: Checkpoint) -> bool:
    """Return whether two models were trained on the same images, so that the same ones are held out."""
    return all(one.trained.get(key) == other.trained.get(key) for key in _IDENTITY)


def _overlap(data_set: PictureFiles, about: Checkpoint) -> _Overlap:
    """Compare a data set with the recorded one; there is no overlap if that no longer exists."""
    name = selection.recorded_name(about)
    if name is None:
        return _Overlap(whole=False, shared=0)
    try:
        recorded = registry.find(name)
        if not isinstance(recorded, PictureFiles):
            return _Overlap(whole=False, shared=0)
        learned = {os.path.realpath(picture.path) for picture in recorded.pictures if picture.part != TEST}
    except TrainingError:
        return _Overlap(whole=False, shared=0)
    ours = {os.path.realpath(picture.path) for picture in data_set.pictures}
    return _Overlap(whole=name == data_set.name or ours == learned, shared=len(ours & learned))


def _may_be_a_copy(data_set: PictureFiles, about: Checkpoint) -> bool:
    """Return whether a data set has the classes and the number of images that the model was trained with."""
    images = sum(_number(about.trained.get(key)) for key in ("training_images", "validation_images"))
    return data_set.classes == about.classes and len(data_set.pictures) == images


def _number(value: Any) -> int:  # noqa: ANN401 - any JSON, perhaps of another program
    return value if isinstance(value, int) else 0


def _divided(data_set: PictureFiles, about: Checkpoint) -> TrainingData | None:
    """Read a data set as the model's training did; None if that is no longer possible."""
    try:
        chosen = selection.of_checkpoint(data_set, about)
        scratch = Path(tempfile.gettempdir())
        return chosen.read(ReadOptions(scratch, chosen.share, chosen.seed, about.preprocessing))
    except (TrainingError, TypeError, ValueError):  # another program may have written the record
        return None


def _validation(found: TrainingData, about: Checkpoint) -> LabelledImages:
    images, count = len(found.training) + len(found.validation), len(found.validation)
    part = f"validation part: {count:,} of {images:,} images"
    if found.digest == about.trained.get("data_digest"):
        note = f"{part}; the rest was trained on"
    else:
        note = (
            f"{part}, as they are divided now: files have changed since the training, which may have used some of these"
        )
    return LabelledImages(
        source=f"the validation part of {shown(found.data_set.path)}",
        split=found.validation,
        names=found.names,
        failed=tuple(_failure(file) for file in found.left_out if file.reason == "unreadable"),
        note=note,
    )


def _failure(file: LeftOut) -> Failure:
    """Return the failure of a file that can't be read; its part is unknown."""
    name, _, message = file.detail.partition(": ")
    kind = next((kind for kind in ErrorKind if kind == name), ErrorKind.CORRUPT)
    return Failure(file.path, "", ImageError(kind, message))
