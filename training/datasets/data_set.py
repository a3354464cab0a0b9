"""The interface of a data set; `training.datasets.registry` lists the classes that implement it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from pigeonhole.errors import ImageError
from pigeonhole.filesystem.files import shown
from pigeonhole.imaging.preprocessing import Preprocessing
from training.datasets.files.distinct import LeftOut
from training.datasets.splits import Split

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ReadOptions:
    """How to read a data set for a training.

    Args:
        scratch: Folder for decoded images, which are stored there in files without a name.
        share: Share of the training images of each class that is used for validation.
        seed: Seed of the validation split.
        preprocessing: Preprocessing of every image; None to choose it by inspecting the images.
        size: Shorter side in pixels of a chosen preprocessing; None to choose that too.
        on_progress: Called with the number of files read and the number of all files.
    """

    scratch: Path
    share: float
    seed: int
    preprocessing: Preprocessing | None = None
    size: int | None = None
    on_progress: Progress | None = None


@dataclass(frozen=True)
class TrainingData:
    """The images of a training, divided.

    Args:
        data_set: Data set that this was read from.
        preprocessing: Preprocessing that was applied to every image.
        training: Images to train on.
        validation: Images that decide on the best epoch, the temperature and the review threshold.
        test: Images for the final figures; None to measure on the validation split.
        source: Description for people of the images that are measured.
        names: Name of each measured image.
        digest: SHA-256 of images and labels, in hexadecimal.
        notes: Notices for the user.
        left_out: Files that are not used.
    """

    data_set: "DataSet"
    preprocessing: Preprocessing
    training: Split
    validation: Split
    test: Split | None
    source: str
    names: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, in the order of the logits."""
        return self.data_set.classes


class Failure(NamedTuple):
    """A labelled file that can't be read: its path as text, the name of its class, and the reason."""

    path: str
    label: str
    error: ImageError


@dataclass(frozen=True)
class LabelledImages:
    """Images to evaluate a model on.

    Args:
        source: Description of the images for people.
        split: The images that could be read, with indices of the data set's classes.
        names: Name of each image; no two are the same.
        failed: Files that can't be read.
        note: Notice or warning that belongs in the first line of a result; empty for none.
    """

    source: str
    split: Split
    names: tuple[str, ...]
    failed: tuple[Failure, ...] = ()
    note: str = ""


class DataSet(ABC):
    """A data set, which `SCHEME:PATH` names.

    Args:
        path: The part of the name after `SCHEME:`.

    Attributes:
        scheme: Key of the kind in the registry.
        network: Network that is trained if the user names none.
        tuned: Whether the plans of `training.recipes.defaults` were chosen on this data set, so that its images need no
            inspection.
    """

    scheme: ClassVar[str]
    network: ClassVar[str] = "residual"
    tuned: ClassVar[bool] = False

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a path holds data of this kind: `--data PATH` asks each kind in turn."""
        return False

    def check_path(self) -> None:
        """Raise DatasetError if data of this kind can't be at the path; by default they always can."""
        return

    @property
    def name(self) -> str:
        """Name that a model records, independent of the working folder."""
        return f"{self.scheme}:{shown(os.path.abspath(self.path))}"

    @property
    def folder(self) -> Path:
        """Folder in which the paths of corrections are searched."""
        return self.path

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, known before any image is read.

        Raises:
            DatasetError: The files that name them can't be listed.
        """

    @abstractmethod
    def read(self, options: ReadOptions) -> TrainingData:
        """Read all images, divided into training, validation and test images.

        Raises:
            DatasetError: The data can't be read, or are too few to train on.
        """

    @abstractmethod
    def labelled(self, preprocessing: Preprocessing) -> LabelledImages:
        """Read the images to evaluate a model on: the test images, if the data set has any.

        Args:
            preprocessing: Preprocessing of the model.

        Raises:
            DatasetError: No image can be read.
        """
