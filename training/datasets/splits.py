"""Data sets as tensors: MNIST through torchvision, folders of class folders through `pigeonhole.imaging.preprocess`."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pigeonhole.errors import DatasetError, ImageError
from pigeonhole.imaging import preprocess
from pigeonhole.imaging.preprocess import Decoded
from pigeonhole.imaging.preprocessing import Preprocessing
from training.datasets.folder.division import check_share
from training.datasets.folder.pictures import MAX_PIXELS as MAX_PIXELS
from training.datasets.folder.pictures import content

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

MNIST_CLASSES = tuple("0123456789")
MNIST_TEST = "MNIST's test images"

_MNIST_FILES = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte "
    "(or the same with .gz)"
)


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Args:
        images: uint8 [N, H, W, C], as `pigeonhole.imaging.preprocess` makes them.
        labels: int64 [N], indices of the classes.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "Split":
        """The part at `indices` (int64 [n]), in that order."""
        return Split(self.images[indices], self.labels[indices])

    def counts(self, classes: int) -> list[int]:
        """How many images each of the classes has."""
        return [int(count) for count in self.labels.bincount(minlength=classes)]

    def to(self, device: str) -> "Split":
        """The same on another device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Folder:
    """A folder of class folders, read.

    Args:
        split: What could be read.
        paths: Of each image in it, in order.
        failed: Path and error of each that could not.
    """

    split: Split
    paths: tuple[Path, ...]
    failed: tuple[tuple[Path, ImageError], ...]


def mnist(folder: str | os.PathLike[str], part: str, preprocessing: Preprocessing) -> Split:
    """Load one part of MNIST; it is downloaded where it is not in `folder` and a network is there.

    Args:
        folder: Holds `MNIST/raw/`, as torchvision lays it out.
        part: "train" (60,000 images) or "test" (10,000).
        preprocessing: Applied to every image, as it is to a file's.

    Returns:
        The images and labels.

    Raises:
        DatasetError: It is not there and can't be downloaded, or the files are damaged.
    """
    source = _torchvision_mnist(Path(folder), train=part == "train")
    images, labels = source.data.numpy(), source.targets
    if len(images) == 0 or len(images) != len(labels):
        raise DatasetError(f"MNIST in {folder} is damaged: {len(images)} images and {len(labels)} labels.")
    pixels, errors = preprocess.apply_all(preprocessing, [_decoded(image, preprocessing) for image in images])
    if errors:
        raise DatasetError(
            f"MNIST in {folder} is damaged: {len(errors)} of its images are blank; delete "
            f"{Path(folder) / 'MNIST'} and start again."
        )
    return Split(torch.from_numpy(pixels), labels.to(torch.int64))


def test_names(count: int) -> tuple[str, ...]:
    """What each of MNIST's test images is called, so that it can be found again."""
    return tuple(f"test image {index}" for index in range(count))


def _decoded(image: NDArray[np.uint8], preprocessing: Preprocessing) -> Decoded:
    return image if preprocessing.mode == "L" else Image.fromarray(image).convert(preprocessing.mode)


def _torchvision_mnist(folder: Path, train: bool) -> "MNIST":
    try:
        from torchvision.datasets import MNIST
    except ImportError as exc:
        raise DatasetError(
            "MNIST is read with torchvision, which is not installed; run: pip install 'pigeonhole[training]'"
        ) from exc
    raw = folder / "MNIST" / "raw"
    absent = [path for path in (raw, raw.parent, folder) if not path.exists()]
    try:
        # An existing file is only read, never written, so the folder may be read-only.
        return MNIST(folder, train=train, download=not _is_there(raw, train))
    except (RuntimeError, OSError, EOFError, ValueError, AssertionError) as exc:
        if _is_there(raw, train):
            raise DatasetError(f"MNIST in {raw} is damaged ({exc}); delete that folder and start again.") from exc
        for path in absent:  # torchvision makes them before it tries to download
            with suppress(OSError):
                path.rmdir()
        raise DatasetError(
            f"MNIST is not in {folder} and can't be downloaded ({_first_line(exc)}); "
            f"put {_MNIST_FILES} into {raw}, or name the folder that has MNIST/raw with --data."
        ) from exc


def _is_there(raw: Path, train: bool) -> bool:
    start = "train" if train else "t10k"
    return all((raw / f"{start}-{kind}").is_file() for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))


def _first_line(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__).strip().splitlines()[0].rstrip(":")


def folder(root: str | os.PathLike[str], classes: tuple[str, ...], preprocessing: Preprocessing) -> Folder:
    """Read a folder of class folders.

    Args:
        root: Holds one folder for each class, named as the class; classes may be missing, not added.
        classes: Labels, in the order of the logits.
        preprocessing: Of the checkpoint that will read them.

    Returns:
        What could be read, and what could not.

    Raises:
        DatasetError: It is no such folder, names a class that is not among `classes`, or holds no image.
    """
    root = Path(root)
    found = folders(root)
    foreign = [name for name in found if name not in classes]
    if foreign or not found:
        what = f"has a folder {foreign[0]!r}" if foreign else "has no folders"
        raise DatasetError(f"{root} {what}; it needs one for each class, named as it: {', '.join(classes)}.")
    images, labels, paths, failed = [], [], [], []
    for name in found:
        for path in _files(root / name):
            try:
                images.append(preprocess.prepare(content(path), preprocessing, MAX_PIXELS))
            except ImageError as exc:
                failed.append((path, exc))
                continue
            labels.append(classes.index(name))
            paths.append(path)
    if not images:
        raise DatasetError(f"{root} holds no image that can be read; of {len(failed)} files none could.")
    split = Split(torch.from_numpy(np.stack(images)), torch.tensor(labels, dtype=torch.int64))
    return Folder(split, tuple(paths), tuple(failed))


def folders(root: Path) -> list[str]:
    """The names of the folders in `root`, sorted; hidden ones are left out.

    Raises:
        DatasetError: It is no folder.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; --data names a folder of class folders.")
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _files(top: Path) -> Iterator[Path]:
    for path in sorted(top.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path


def divide(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Divide a split in two, each class in the same proportion.

    Args:
        split: What to divide.
        share: Of each class in the second part, above 0 and below 1; at least one image of each.
        seed: Decides which ones; the same seed, the same division.

    Returns:
        The first part, to train on, and the second, to validate on.

    Raises:
        DatasetError: A class is too small to be in both.
    """
    check_share(share)
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for label in torch.unique(split.labels).tolist():
        members = (split.labels == label).nonzero().flatten()  # int64 [n]
        members = members[torch.randperm(len(members), generator=generator)]
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DatasetError(
                f"Class {label} has {len(members)} images: too few to train on and to keep {share:.0%} for validation."
            )
        second.append(members[:count])
        first.append(members[count:])
    # Sorted: the order says nothing of the class.
    return split.take(torch.cat(first).sort().values), split.take(torch.cat(second).sort().values)


def digest(split: Split) -> str:
    """SHA-256, in hexadecimal, of the images and labels."""
    found = hashlib.sha256(np.ascontiguousarray(split.images.numpy()).data)
    found.update(np.ascontiguousarray(split.labels.numpy()).data)
    return found.hexdigest()
