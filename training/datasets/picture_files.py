"""The base class of data sets of picture files, which `train` and `evaluate` read alike."""

import hashlib
import json
import os
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pigeonhole.errors import DatasetError, ErrorKind
from pigeonhole.filesystem.files import shown
from pigeonhole.filesystem.nearby import missing
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.limits import MOST_CLASSES
from training.datasets.data_set import DataSet, Failure, LabelledImages, ReadOptions, TrainingData
from training.datasets.files import cache, counts, inspection
from training.datasets.files.cache import Cache
from training.datasets.files.distinct import TEST, TRAINING, VALIDATION, Picture, distinct
from training.datasets.files.division import divide
from training.datasets.splits import Split

FEWEST = 5  # images of a class, in training and validation together


class PictureFiles(DataSet):
    """A data set of picture files; a subclass lists the files.

    Attributes:
        layout: Layout of the files by class, in words for error messages.
    """

    layout: ClassVar[str]

    @abstractmethod
    def list_files(self) -> tuple[tuple[str, ...], tuple[Picture, ...]]:
        """Return the sorted classes, and the files in the order of part, class and path, without opening them.

        Raises:
            DatasetError: The files can't be listed.
        """

    @cached_property
    def _listed(self) -> tuple[tuple[str, ...], tuple[Picture, ...]]:
        return self.list_files()

    def check_path(self) -> None:
        """Raise DatasetError if there is nothing at the path."""
        if not self.path.exists():
            raise DatasetError(f"{missing(self.path)} Check the path of --dataset or --data.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return self._listed[0]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The files in the order of part, class and path."""
        return self._listed[1]

    @property
    def has_held_out_part(self) -> bool:
        """Return whether there is a test or validation part, so that `labelled` reads no training images."""
        return any(picture.part in (TEST, VALIDATION) for picture in self.pictures)

    def read(self, options: ReadOptions) -> TrainingData:
        """Read the files without duplicates; if there is no validation part, divide the training images.

        Raises:
            DatasetError: Too few pictures or classes can be used.
            TrainingError: A process that read files was killed.
        """
        self._check_classes()
        pictures, preprocessing, notes = self.pictures, options.preprocessing, []
        paths = [picture.path for picture in pictures]
        if preprocessing is None:
            inspected = inspection.inspect_pictures(paths)
            preprocessing = inspected.preprocessing(options.size)
            notes.append(_chosen(inspected, preprocessing))
        read = cache.read(paths, preprocessing, options.scratch, on_progress=options.on_progress)
        self._check_digits(preprocessing, read)
        used, left_out = distinct(pictures, self.classes, read.digests, read.failed)
        labels = _labels(pictures)
        parts = self._parts(used, labels, read.digests, options)
        splits = {part: _split(read, labels, rows, options.scratch) for part, rows in parts.items() if len(rows)}
        figures = TEST if TEST in splits else VALIDATION
        return TrainingData(
            data_set=self,
            preprocessing=preprocessing,
            training=splits[TRAINING],
            validation=splits[VALIDATION],
            test=splits.get(TEST),
            source=_source(self.path, figures),
            names=tuple(self._name(paths[row]) for row in parts[figures].tolist()),
            digest=_digest(self.classes, parts, labels, read.digests),
            notes=(
                *notes,
                counts.table(self.classes, {part: split.counts(len(self.classes)) for part, split in splits.items()}),
            ),
            left_out=left_out,
        )

    def labelled(self, preprocessing: Preprocessing) -> LabelledImages:
        """Read the test images; if there are none, the validation images; else all images."""
        there = {picture.part for picture in self.pictures}
        part = next((part for part in (TEST, VALIDATION) if part in there), TRAINING)
        pictures, scratch = [one for one in self.pictures if one.part == part], Path(tempfile.gettempdir())
        read = cache.read([picture.path for picture in pictures], preprocessing, scratch)
        used = np.array([at for at in range(len(pictures)) if at not in read.failed], np.int64)
        if not len(used):
            raise DatasetError(f"{self.path}: none of {len(pictures):,} files can be read as an image; check the path.")
        return LabelledImages(
            source=f"the {'' if part == TRAINING else f'{part} '}images in {shown(self.path)}",
            split=_split(read, _labels(pictures), used, scratch),
            names=tuple(self._name(pictures[at].path) for at in used.tolist()),
            failed=tuple(
                Failure(shown(pictures[at].path), self.classes[pictures[at].label], error)
                for at, error in read.failed.items()
            ),
        )

    def _name(self, path: str) -> str:
        return shown(os.path.relpath(path, self.folder))

    def _check_classes(self) -> None:
        """Raise DatasetError if no model can have these classes."""
        names = self.classes
        if len(names) < 2:
            found = f"only {names[0]!r}" if names else "none"
            raise DatasetError(f"{self.path} needs at least two classes ({self.layout}); it has {found}.")
        if len(names) > MOST_CLASSES:
            raise DatasetError(
                f"{self.path} has {len(names):,} classes, and a model can have {MOST_CLASSES:,} at most. Merge some."
            )
        for name in names:
            try:
                name.encode()
            except UnicodeEncodeError as exc:
                raise DatasetError(
                    f"{self.path} has a class whose name is not UTF-8: {os.fsencode(name)!r}; rename it."
                ) from exc

    def _check_digits(self, preprocessing: Preprocessing, read: Cache) -> None:
        """Raise DatasetError if a network for digits finds no ink in most pictures."""
        blank = sum(error.kind is ErrorKind.BLANK for error in read.failed.values())
        if preprocessing.reads_digits and 2 * blank > len(read.images):
            raise DatasetError(
                f"{self.path}: {blank:,} of {len(read.images):,} pictures show no ink on plain paper, as networks for "
                "digits need. Leave --network out; the default network takes any picture."
            )

    def _parts(
        self, used: NDArray[np.int64], labels: Tensor, digests: NDArray[np.uint8], options: ReadOptions
    ) -> dict[str, NDArray[np.int64]]:
        """Return the indices of the pictures of each part, in ascending order."""
        of = np.array([picture.part for picture in self.pictures])[used]
        parts = {part: used[of == part] for part in (TRAINING, VALIDATION, TEST)}
        whole = parts[TRAINING]
        self._check_enough(labels[whole])
        if not len(parts[VALIDATION]):
            first, second = divide(labels[whole].numpy(), digests[whole], options.share, options.seed, self.classes)
            parts |= {TRAINING: whole[first], VALIDATION: whole[second]}
        return parts

    def _check_enough(self, labels: Tensor) -> None:
        found = labels.bincount(minlength=len(self.classes)).tolist()
        few = [f"{name!r} has {count}" for name, count in zip(self.classes, found, strict=True) if count < FEWEST]
        if few:
            more = f" and {len(few) - 5} other classes have too few" if len(few) > 5 else ""
            raise DatasetError(
                f"{self.path}: each class needs at least {FEWEST} different readable pictures to train on; "
                f"{', '.join(few[:5])}{more}. Add pictures, or remove these classes."
            )


def _labels(pictures: Sequence[Picture]) -> Tensor:
    return torch.tensor([picture.label for picture in pictures], dtype=torch.int64)


def _split(read: Cache, labels: Tensor, rows: NDArray[np.int64], scratch: Path) -> Split:
    stored = cache.store(cache.rows(read.images, rows), read.images.shape[1:], scratch)
    return Split(torch.from_numpy(stored), labels[rows])


def _source(path: Path, part: str) -> str:
    if part == TEST:
        return f"the test images in {shown(path)}"
    return (
        f"the validation split of {shown(path)}, on which epoch and calibration were chosen: "
        "expect slightly worse figures on new images"
    )


def _chosen(inspected: inspection.Inspection, chosen: Preprocessing) -> str:
    width, height = inspected.size
    return (
        f"{inspected.pictures:,} pictures inspected: {'grey' if inspected.grey else 'colour'}, median size "
        f"{width:g} x {height:g} pixels. Scaled and cropped to {chosen.width} x {chosen.height} in "
        f"{'grey' if chosen.channels == 1 else 'colour'}; --size chooses another size."
    )


def _digest(
    classes: tuple[str, ...], parts: dict[str, NDArray[np.int64]], labels: Tensor, digests: NDArray[np.uint8]
) -> str:
    """Return the SHA-256 of classes, parts, labels and the images' own digests, in hexadecimal."""
    found = hashlib.sha256(json.dumps(classes).encode())
    for part, rows in parts.items():
        found.update(f"{part} {len(rows)}".encode())
        found.update(np.ascontiguousarray(digests[rows]).data)
        found.update(labels[rows].numpy().data)
    return found.hexdigest()
