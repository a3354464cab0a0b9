"""What can be trained on, by the name that `--dataset` gives it, brought to one form."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pigeonhole.errors import DatasetError
from pigeonhole.files import shown
from pigeonhole.imaging.preprocessing import Preprocessing
from training.datasets import splits
from training.datasets.folder import cache, counts, listing, looks
from training.datasets.folder.cache import Cache
from training.datasets.folder.distinct import LeftOut, distinct
from training.datasets.folder.division import divide
from training.datasets.folder.listing import TEST, TRAINING, VALIDATION, Listing
from training.datasets.splits import Split

MNIST = "mnist"
FEWEST = 5  # images of a class to train and to validate on
_FOLDER = "folder:"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DataSet:
    """What a training learns from and is measured on.

    Args:
        name: "mnist", or "folder:" and the folder's absolute path.
        classes: Labels, in the order of the logits.
        preprocessing: What every image went through.
        training: What is learned from.
        validation: What decides which epoch is kept, the temperature and the threshold.
        test: For the figures; None where there is none, and the figures are the validation split's.
        source: What the images are that the figures are of, for people.
        names: What each of these is called.
        digest: SHA-256, in hexadecimal, of images and labels.
        notes: What a user should be told.
        left_out: Files that are not used.
        corrections: Files of a person's labels, which it has; absolute paths.
    """

    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    training: Split
    validation: Split
    test: Split | None
    source: str
    names: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    corrections: tuple[str, ...] = ()


def is_name(dataset: str) -> bool:
    """Whether that can name a data set."""
    return dataset == MNIST or (dataset.startswith(_FOLDER) and dataset != _FOLDER)


def canonical(dataset: str) -> str:
    """The name of a data set as a checkpoint records it: a folder's path is absolute.

    Raises:
        DatasetError: As `folder_of`.
    """
    folder = folder_of(dataset)
    return MNIST if folder is None else _FOLDER + os.path.abspath(folder)


def folder_of(dataset: str) -> Path | None:
    """The folder that `--dataset` names; None for MNIST.

    Raises:
        DatasetError: It is neither "mnist" nor "folder:" and a path.
    """
    if dataset == MNIST:
        return None
    if not is_name(dataset):
        raise DatasetError(
            f"There is no data set {dataset!r}; --dataset takes mnist, or folder:DIR for a folder of class folders."
        )
    return Path(dataset.removeprefix(_FOLDER))


def of_mnist(folder: Path, preprocessing: Preprocessing, share: float, seed: int) -> DataSet:
    """MNIST, its training images divided.

    Args:
        folder: Holds it.
        preprocessing: What every image goes through.
        share: Of the training images, to validate on.
        seed: Of the division.

    Raises:
        DatasetError: It can't be read, or not divided so.
    """
    whole, test = (splits.mnist(folder, part, preprocessing) for part in ("train", "test"))
    training, validation = splits.divide(whole, share, seed)
    return DataSet(
        name=MNIST,
        classes=splits.MNIST_CLASSES,
        preprocessing=preprocessing,
        training=training,
        validation=validation,
        test=test,
        source=splits.MNIST_TEST,
        names=splits.test_names(len(test)),
        digest=splits.digest(whole),
    )


def of_folder(
    root: Path,
    preprocessing: Preprocessing | None,
    size: int | None,
    share: float,
    seed: int,
    scratch: Path,
    on_progress: Progress | None = None,
) -> DataSet:
    """A folder of class folders, or of train/, val/ and test/ that hold these.

    Args:
        root: The folder.
        preprocessing: What every image goes through; None to choose it by looking at some of them.
        size: Where it is chosen, the shorter side in pixels; None to choose that too.
        share: Of the training images, to validate on where there is no val/.
        seed: Of that division.
        scratch: A folder for the decoded images, which take a file without a name there.
        on_progress: Called with the files read so far, and how many there are.

    Raises:
        DatasetError: It is no such folder, or holds too little that can be used.
        TrainingError: A process was killed.
    """
    listed = listing.listed(root)
    paths = [picture.path for picture in listed.pictures]
    notes = []
    if preprocessing is None:
        seen = looks.look(paths)
        preprocessing = seen.preprocessing(size)
        notes.append(_chosen(seen, preprocessing))
    read = cache.read(paths, preprocessing, scratch, on_progress=on_progress)
    _check_digits(root, preprocessing, read)
    used, left_out = distinct(listed.pictures, listed.classes, read.digests, read.failed)
    labels = torch.tensor([picture.label for picture in listed.pictures], dtype=torch.int64)
    parts = _parts(listed, used, labels, read.digests, share, seed)
    splits = {part: _split(read.images, labels, rows, scratch) for part, rows in parts.items() if len(rows)}
    figures = TEST if TEST in splits else VALIDATION
    return DataSet(
        name=_FOLDER + shown(os.path.abspath(root)),
        classes=listed.classes,
        preprocessing=preprocessing,
        training=splits[TRAINING],
        validation=splits[VALIDATION],
        test=splits.get(TEST),
        source=_source(root, figures),
        names=tuple(shown(os.path.relpath(paths[row], root)) for row in parts[figures].tolist()),
        digest=_folder_digest(listed.classes, parts, labels, read.digests),
        notes=(*notes, _counted(listed.classes, splits)),
        left_out=left_out,
    )


def _check_digits(root: Path, preprocessing: Preprocessing, read: Cache) -> None:
    """Refuse what a network for digits can't be trained on, rather than tell of each picture that it is blank."""
    blank = sum(what.startswith("blank") for what in read.failed.values())
    if preprocessing.kind == "digit" and 2 * blank > len(read.images):
        raise DatasetError(
            f"{root}: {blank:,} of {len(read.images):,} pictures show no ink on plain paper, which is what networks "
            "for digits look for; leave --network out for one that takes any picture."
        )


def _parts(
    listed: Listing, used: NDArray[np.int64], labels: Tensor, digests: NDArray[np.uint8], share: float, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Part → the indices of its pictures, rising."""
    of = np.array([picture.part for picture in listed.pictures])[used]
    parts = {part: used[of == part] for part in (TRAINING, VALIDATION, TEST)}
    _check_enough(listed, labels[parts[TRAINING]].tolist())
    if not len(parts[VALIDATION]):
        whole = parts[TRAINING]
        first, second = divide(labels[whole].numpy(), digests[whole], share, seed, listed.classes)
        parts |= {TRAINING: whole[first], VALIDATION: whole[second]}
    return parts


def _check_enough(listed: Listing, labels: list[int]) -> None:
    found = np.bincount(labels, minlength=len(listed.classes)).tolist() if labels else [0] * len(listed.classes)
    few = [f"{name!r} has {count}" for name, count in zip(listed.classes, found, strict=True) if count < FEWEST]
    if few:
        more = f" and {len(few) - 5} other classes have too few" if len(few) > 5 else ""
        raise DatasetError(
            f"{listed.root}: each class needs at least {FEWEST} different pictures to train on that can be read; "
            f"{', '.join(few[:5])}{more}. Add some, or take such a class's folder away."
        )


def _split(images: NDArray[np.uint8], labels: Tensor, rows: NDArray[np.int64], scratch: Path) -> Split:
    kept = cache.store(cache.rows(images, rows), images.shape[1:], scratch)
    return Split(torch.from_numpy(kept), labels[rows])


def _source(root: Path, part: str) -> str:
    if part == TEST:
        return f"the test images in {shown(root)}"
    return (
        f"the validation split of {shown(root)}, which chose the epoch and the calibration: "
        "there are no test images, so new ones may do a little worse"
    )


def _chosen(seen: looks.Look, chosen: Preprocessing) -> str:
    width, height = seen.size
    return (
        f"{seen.pictures:,} pictures looked at: {'grey' if seen.grey else 'colour'}, in the median {width:g} x "
        f"{height:g} pixels. Scaled and cut to {chosen.width} x {chosen.height} in "
        f"{'grey' if chosen.channels == 1 else 'colour'}; --size chooses another size."
    )


def _counted(classes: tuple[str, ...], splits: dict[str, Split]) -> str:
    return counts.table(classes, {part: split.counts(len(classes)) for part, split in splits.items()})


def moments(split: Split) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all images, in units of 255; six digits of them."""
    images = split.images.numpy()
    sums = np.zeros((2, images.shape[3]))
    for some in cache.rows(images):
        values = some.reshape(-1, images.shape[3]) / np.float32(255)
        sums += values.sum(axis=0, dtype=np.float64), np.square(values).sum(axis=0, dtype=np.float64)
    mean, square = sums / (images.size / images.shape[3])
    # At least a grey level: images of one colour have no spread to divide by.
    std = np.sqrt(np.maximum(square - mean**2, 1 / 255**2))
    return [round(value, 6) for value in mean.tolist()], [round(value, 6) for value in std.tolist()]


def _folder_digest(
    classes: Iterable[str], parts: dict[str, NDArray[np.int64]], labels: Tensor, digests: NDArray[np.uint8]
) -> str:
    """The same of a folder, out of the digests of its images."""
    found = hashlib.sha256(json.dumps(list(classes)).encode())
    for part, rows in parts.items():
        found.update(f"{part} {len(rows)}".encode())
        found.update(np.ascontiguousarray(digests[rows]).data)
        found.update(labels[rows].numpy().data)
    return found.hexdigest()
