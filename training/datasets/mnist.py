"""The data set MNIST, read through torchvision."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from numpy.typing import NDArray
from PIL import Image

from pigeonhole.errors import DatasetError
from pigeonhole.filesystem.files import shown
from pigeonhole.imaging import preprocess
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.version import install_hint
from training.datasets import registry
from training.datasets.data_set import DataSet, LabelledImages, ReadOptions, TrainingData
from training.datasets.splits import MNIST_CLASSES, Split, digest

if TYPE_CHECKING:
    import numpy as np
    from torchvision.datasets import MNIST

_TEST = "MNIST's test images"
_FILES = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte "
    "(or the same with .gz)"
)


class Mnist(DataSet):
    """`mnist`: the images are the same in any folder, so the name that a model records has no path."""

    scheme = "mnist"
    network = "digits"
    tuned = True
    name = "mnist"
    classes = MNIST_CLASSES

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a folder holds MNIST, as torchvision lays it out."""
        return (path / "MNIST" / "raw").is_dir()

    def check_path(self) -> None:
        """Raise DatasetError if the folder holds other files, since MNIST is downloaded to it."""
        if self.recognises(self.path):
            return
        if self.path.exists() and not self.path.is_dir():
            raise DatasetError(f"{shown(self.path)} is a file, and MNIST needs a folder; name another with --data.")
        others = sorted(name for name in _names_in(self.path) if name != "MNIST" and not name.startswith("."))
        if others:
            kind = registry.at(self.path)
            meant = f" Did you mean --dataset {kind}:{shown(self.path)}?" if kind else ""
            raise DatasetError(
                f"{shown(self.path)} holds other files, such as {shown(others[0])!r}, so MNIST is not downloaded there."
                f"{meant} For MNIST, name a new folder: --dataset mnist --data DIR."
            )

    def read(self, options: ReadOptions) -> TrainingData:
        """Read both parts, and divide the training images."""
        assert options.preprocessing is not None, "the plan of a tuned data set has one"
        whole, test = (read(self.path, part, options.preprocessing) for part in ("train", "test"))
        training, validation = divide(whole, options.share, options.seed)
        return TrainingData(
            data_set=self,
            preprocessing=options.preprocessing,
            training=training,
            validation=validation,
            test=test,
            source=_TEST,
            names=_names(test),
            digest=digest(whole),
        )

    def labelled(self, preprocessing: Preprocessing) -> LabelledImages:
        """Read the test images."""
        split = read(self.path, "test", preprocessing)
        return LabelledImages(_TEST, split, _names(split))


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # missing or unreadable: the download reports it
        return []


def _names(test: Split) -> tuple[str, ...]:
    return tuple(f"test image {index}" for index in range(len(test)))


def divide(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Divide MNIST's training images, each class in the same proportion.

    Picture files are divided by their pixels (`training.datasets.files.division`). MNIST has a random draw of its own:
    the shipped model records a validation split that was drawn like this.

    Args:
        split: Images to divide.
        share: Share of each class in the second part, at least one image of each.
        seed: Seed of the draw.

    Returns:
        The images to train on, and those to validate on.

    Raises:
        DatasetError: A class has too few images for both parts.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for label in torch.unique(split.labels).tolist():
        members = (split.labels == label).nonzero().flatten()  # int64 [n]
        members = members[torch.randperm(len(members), generator=generator)]
        count = max(1, round(share * len(members)))
        if count >= len(members):
            raise DatasetError(
                f"Class {label} has {len(members)} images: too few to train on and to use {share:.0%} for validation."
            )
        second.append(members[:count])
        first.append(members[count:])
    # Sorted, so that the order does not depend on the class.
    return split.take(torch.cat(first).sort().values), split.take(torch.cat(second).sort().values)


def read(folder: Path, part: str, preprocessing: Preprocessing) -> Split:
    """Read one part of MNIST; download it if it is not in the folder.

    Args:
        folder: Folder that holds `MNIST/raw/`, as torchvision lays it out.
        part: "train" (60,000 images) or "test" (10,000).
        preprocessing: Preprocessing of every image.

    Raises:
        DatasetError: The files are missing and can't be downloaded, or they are damaged.
    """
    source = _torchvision_mnist(folder, train=part == "train")
    images, labels = source.data.numpy(), source.targets
    if len(images) == 0 or len(images) != len(labels):
        raise DatasetError(
            f"MNIST in {folder} is damaged: {len(images)} images and {len(labels)} labels. Delete its files; they are "
            "downloaded again."
        )
    pixels, errors = preprocessing.apply_all([_decoded(image, preprocessing) for image in images])
    if errors:
        raise DatasetError(
            f"MNIST in {folder} is damaged: {len(errors)} of its images are blank. Delete {folder / 'MNIST'}; it is "
            "downloaded again."
        )
    return Split(torch.from_numpy(pixels), labels.to(torch.int64))


def _decoded(image: "NDArray[np.uint8]", preprocessing: Preprocessing) -> preprocess.Decoded:
    return image if preprocessing.mode == "L" else Image.fromarray(image).convert(preprocessing.mode)


def _torchvision_mnist(folder: Path, train: bool) -> "MNIST":
    try:
        from torchvision.datasets import MNIST
    except ImportError as exc:
        raise DatasetError(f"MNIST needs torchvision, which is not installed; run: {install_hint('training')}") from exc
    raw = folder / "MNIST" / "raw"
    absent = [path for path in (raw, raw.parent, folder) if not path.exists()]
    Mnist(str(folder)).check_path()
    try:
        # An existing file is only read, never written, so the folder may be read-only.
        return MNIST(folder, train=train, download=not _is_there(raw, train))
    except (RuntimeError, OSError, EOFError, ValueError, AssertionError) as exc:
        if _is_there(raw, train):
            raise DatasetError(
                f"MNIST in {raw} is damaged ({exc}). Delete that folder; it is downloaded again."
            ) from exc
        for path in absent:  # torchvision creates them before it downloads
            with suppress(OSError):
                path.rmdir()
        raise DatasetError(
            f"MNIST is not in {folder} and can't be downloaded ({_first_line(exc)}). "
            f"Put {_FILES} into {raw}, or name the folder that has MNIST/raw with --data."
        ) from exc


def _is_there(raw: Path, train: bool) -> bool:
    start = "train" if train else "t10k"
    return all((raw / f"{start}-{kind}").is_file() for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))


def _first_line(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__).strip().splitlines()[0].rstrip(":")
