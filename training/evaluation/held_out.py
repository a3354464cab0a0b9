"""The images of a data set that a model was not trained on."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pigeonhole.errors import ErrorKind, ImageError, TrainingError
from pigeonhole.files import shown
from pigeonhole.models.checkpoint import Checkpoint
from training.datasets import registry, selection
from training.datasets.data_set import DataSet, Failure, LabelledImages, ReadOptions, TrainingData
from training.datasets.files.distinct import TEST, LeftOut
from training.datasets.picture_files import PictureFiles

#: What decides on the images that two models were trained on; models that agree in all were trained on the same.
_IDENTITY = ("dataset", "data_digest", "validation", "seed", "division_seed", "corrections")


@dataclass(frozen=True)
class _Overlap:
    """What a data set has in common with the one that a model was trained on.

    Args:
        whole: Whether they are the same data set.
        shared: Number of files that are in both.
    """

    whole: bool
    shared: int


def read(data_set: DataSet, about: Checkpoint) -> LabelledImages:
    """Read the images to evaluate a model on: the validation part of the data that it was trained on, if it is these.

    Where that part can't be determined, all images are read and their `note` warns.

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
        f"({about.trained['dataset']}), which are no new images to it: expect worse on others"
    )
    return replace(labelled, note=note)


def same_training_images(one: Checkpoint, other: Checkpoint) -> bool:
    """Return whether two models were trained on the same images, so that the same ones are held out."""
    return all(one.trained.get(key) == other.trained.get(key) for key in _IDENTITY)


def _overlap(data_set: PictureFiles, about: Checkpoint) -> _Overlap:
    """Compare a data set with the recorded one; without any overlap if that is not there any more."""
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


def _number(value: Any) -> int:  # noqa: ANN401 - free JSON, which others may have written
    return value if isinstance(value, int) else 0


def _divided(data_set: PictureFiles, about: Checkpoint) -> TrainingData | None:
    """Read a data set as the model's training did; None if that is not possible any more."""
    try:
        chosen = selection.of_checkpoint(data_set, about)
        scratch = Path(tempfile.gettempdir())
        return chosen.read(ReadOptions(scratch, chosen.share, chosen.seed, about.preprocessing))
    except (TrainingError, TypeError, ValueError):  # others than ours may have written the record
        return None


def _validation(found: TrainingData, about: Checkpoint) -> LabelledImages:
    images, kept = len(found.training) + len(found.validation), len(found.validation)
    part = f"validation part: {kept:,} of {images:,} images"
    if found.digest == about.trained.get("data_digest"):
        note = f"{part}; the rest was trained on"
    else:
        note = (
            f"{part}, as they are divided now; they have changed since the training, which may have used some of these"
        )
    return LabelledImages(
        source=f"the validation part of {shown(found.data_set.path)}",
        split=found.validation,
        names=found.names,
        failed=tuple(_failure(file) for file in found.left_out if file.reason == "unreadable"),
        note=note,
    )


def _failure(file: LeftOut) -> Failure:
    """Return a file that can't be read, in whichever part it would have been."""
    name, _, message = file.detail.partition(": ")
    kind = next((kind for kind in ErrorKind if kind == name), ErrorKind.CORRUPT)
    return Failure(file.path, "", ImageError(kind, message))
