"""A person's labels, read from a CSV file and applied to a data set."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pigeonhole.errors import DatasetError
from pigeonhole.filesystem.files import shown
from pigeonhole.text import counted
from training.datasets.csv_file import rows
from training.datasets.data_set import TrainingData
from training.datasets.files import cache, pictures
from training.datasets.files.distinct import LeftOut
from training.datasets.splits import Split


@dataclass(frozen=True)
class Corrections:
    """The labels of one file.

    Args:
        file: CSV file of the labels.
        labels: Path of a picture → index of its class.
        skipped: Number of lines without a label.
    """

    file: Path
    labels: Mapping[str, int]
    skipped: int


def read(file: Path, classes: Sequence[str], folder: Path) -> Corrections:
    """Read a CSV file of the columns `path` and `label`, and perhaps others.

    A line without a label is skipped. A path is looked for from the working folder, then beside the file, then in
    `folder`.

    Args:
        file: CSV file as `pigeonhole` writes results, or its report exports corrections.
        classes: Names that a label may be.
        folder: Folder of the data set.

    Raises:
        DatasetError: The file can't be read, a path names no file, a label is no class, or a picture has two labels.
    """
    labels: dict[str, int] = {}
    skipped = 0
    for line, path, label in rows(file):
        if not label:
            skipped += 1
            continue
        if label not in classes:
            raise DatasetError(
                f"{file}, line {line}: {label!r} is not a class; the classes are {_few(classes)}. Correct the label, "
                "or leave it empty."
            )
        found = _found(path, (Path(), file.parent, folder))
        if found is None:
            raise DatasetError(
                f"{file}, line {line}: there is no file {shown(path)}. Run the command in the folder that the paths "
                "are relative to, or remove the line."
            )
        if labels.setdefault(found, classes.index(label)) != classes.index(label):
            raise DatasetError(
                f"{file}, line {line}: {shown(path)} is {label!r} here and {classes[labels[found]]!r} on an earlier "
                "line. Remove one of them."
            )
    if not labels:
        raise DatasetError(f"{file} has no line with a label. Fill in the column label.")
    return Corrections(file, labels, skipped)


def apply(given: Sequence[Corrections], data: TrainingData, scratch: Path) -> TrainingData:
    """Apply a person's labels to a data set.

    A picture of the data set is recognised by its pixels after preprocessing, and gets its label in the part that it is
    in. Any other picture is added to the training images.

    Args:
        given: Labels; the last of a picture wins.
        data: Data set without corrections.
        scratch: Folder for the decoded pictures.

    Raises:
        DatasetError: There is no room for the pictures.
    """
    paths = [path for one in given for path in one.labels]
    labels = [label for one in given for label in one.labels.values()]
    decoded = cache.read(paths, data.preprocessing, scratch)
    wanted = {
        decoded.digests[at].tobytes(): at for at in range(len(paths)) if at not in decoded.failed
    }  # the last of equal pictures
    parts = [split for split in (data.training, data.validation, data.test) if split is not None]
    corrected = [_corrected(split, wanted, labels) for split in parts]
    missing = sorted(set(wanted.values()) - {at for _split, found, _changed in corrected for at in found})
    training, validation, *test = (split for split, _found, _changed in corrected)
    changed = sum(changed for _split, _found, changed in corrected)
    labelled_paths = {
        shown(os.path.abspath(paths[at])) for at in wanted.values()
    }  # an ambiguous file is settled by a label
    return replace(
        data,
        training=_added(
            training, cache.rows(decoded.images, np.array(missing)), [labels[at] for at in missing], scratch
        ),
        validation=validation,
        test=test[0] if test else None,
        digest=_digest(data.digest, wanted, labels),
        notes=(*data.notes, _note(given, new=len(missing), relabelled=changed, total=len(wanted))),
        left_out=(
            *(file for file in data.left_out if os.path.abspath(file.path) not in labelled_paths),
            *(LeftOut(shown(paths[at]), "unreadable", str(error)) for at, error in decoded.failed.items()),
        ),
    )


def _note(given: Sequence[Corrections], new: int, relabelled: int, total: int) -> str:
    skipped = sum(one.skipped for one in given)
    return (
        f"{', '.join(str(one.file) for one in given)}: {counted(total, 'correction')}: {counted(new, 'new image')}, "
        f"{relabelled:,} relabelled, {total - new - relabelled:,} unchanged, {skipped:,} without a label skipped."
    )


def _found(path: str, folders: Sequence[Path]) -> str | None:
    return next((at for folder in folders if os.path.isfile(at := os.path.join(folder, path))), None)


def _few(classes: Sequence[str]) -> str:
    return ", ".join(classes[:10]) + (f" and {len(classes) - 10:,} others" if len(classes) > 10 else "")


def _corrected(split: Split, wanted: Mapping[bytes, int], labels: Sequence[int]) -> tuple[Split, set[int], int]:
    """Return the split with the wanted labels, the indices of those that it has, and the number of changed ones."""
    found, changed, at = set(), 0, 0
    after: Tensor = split.labels.clone()
    for part in cache.rows(split.images.numpy()):
        for row, digest in enumerate(pictures.digests(part), start=at):
            if (known := wanted.get(digest.tobytes())) is not None:
                found.add(known)
                changed += int(after[row]) != labels[known]
                after[row] = labels[known]
        at += len(part)
    return Split(split.images, after), found, changed


def _added(split: Split, images: Iterable[NDArray[np.uint8]], labels: Sequence[int], scratch: Path) -> Split:
    if not labels:
        return split
    before = split.images.numpy()
    whole = cache.store(chain(cache.rows(before), images), before.shape[1:], scratch)
    return Split(torch.from_numpy(whole), torch.cat([split.labels, torch.tensor(labels, dtype=torch.int64)]))


def _digest(before: str, wanted: Mapping[bytes, int], labels: Sequence[int]) -> str:
    found = hashlib.sha256(before.encode())
    for digest in sorted(wanted):
        found.update(digest + b" %d " % labels[wanted[digest]])
    return found.hexdigest()
