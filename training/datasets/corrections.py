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
from pigeonhole.files import shown
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
        DatasetError: The file can't be read, a path leads to no file, a label is no class, or a picture has two.
    """
    labels: dict[str, int] = {}
    skipped = 0
    for line, path, label in rows(file):
        if not label:
            skipped += 1
            continue
        if label not in classes:
            raise DatasetError(
                f"{file}, line {line}: {label!r} is none of the classes; they are {_few(classes)}. Mend the label, or "
                "leave it empty."
            )
        found = _found(path, (Path(), file.parent, folder))
        if found is None:
            raise DatasetError(
                f"{file}, line {line}: there is no file {shown(path)}; run the command where its paths begin, or take "
                "the line away."
            )
        if labels.setdefault(found, classes.index(label)) != classes.index(label):
            raise DatasetError(
                f"{file}, line {line}: {shown(path)} is {label!r} here and {classes[labels[found]]!r} on a line "
                "before; take one away."
            )
    if not labels:
        raise DatasetError(f"{file} has no line with a label, so there is nothing to learn from it.")
    return Corrections(file, labels, skipped)


def apply(given: Sequence[Corrections], data: TrainingData, scratch: Path) -> TrainingData:
    """Apply a person's labels to a data set.

    A picture of the data set, known by its pixels as the network sees them, gets its label in whichever part it is. Any
    other picture is added to the training images.

    Args:
        given: Labels; the later wins.
        into: Data set as it was read.
        scratch: Folder for the decoded pictures.

    Raises:
        DatasetError: There is no room for the pictures.
    """
    paths = [path for one in given for path in one.labels]
    labels = [label for one in given for label in one.labels.values()]
    decoded = cache.read(paths, data.preprocessing, scratch)
    wanted = {
        decoded.digests[at].tobytes(): at for at in range(len(paths)) if at not in decoded.failed
    }  # the last of equals
    parts = [split for split in (data.training, data.validation, data.test) if split is not None]
    corrected = [_corrected(split, wanted, labels) for split in parts]
    missing = sorted(set(wanted.values()) - {at for _split, found, _changed in corrected for at in found})
    training, validation, *test = (split for split, _found, _changed in corrected)
    changed = sum(changed for _split, _found, changed in corrected)
    note = (
        f"{', '.join(str(one.file) for one in given)}: {len(wanted):,} pictures with a label, of which the data set "
        f"had {len(wanted) - len(missing):,}, {changed:,} of them with another; {len(missing):,} are added. "
        f"Lines without a label, which are skipped: {sum(one.skipped for one in given):,}."
    )
    labelled_paths = {
        shown(os.path.abspath(paths[at])) for at in wanted.values()
    }  # whatever else was unclear about them
    return replace(
        data,
        training=_added(
            training, cache.rows(decoded.images, np.array(missing)), [labels[at] for at in missing], scratch
        ),
        validation=validation,
        test=test[0] if test else None,
        digest=_digest(data.digest, wanted, labels),
        notes=(*data.notes, note),
        left_out=(
            *(file for file in data.left_out if os.path.abspath(file.path) not in labelled_paths),
            *(LeftOut(shown(paths[at]), "unreadable", str(error)) for at, error in decoded.failed.items()),
        ),
    )


def _found(path: str, folders: Sequence[Path]) -> str | None:
    return next((at for folder in folders if os.path.isfile(at := os.path.join(folder, path))), None)


def _few(classes: Sequence[str]) -> str:
    return ", ".join(classes[:10]) + (f" and {len(classes) - 10:,} others" if len(classes) > 10 else "")


def _corrected(split: Split, wanted: Mapping[bytes, int], labels: Sequence[int]) -> tuple[Split, set[int], int]:
    """Return the split with the wanted labels, which of these it has, and how many of its labels have changed."""
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
