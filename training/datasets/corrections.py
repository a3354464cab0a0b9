"""A person's labels: read from a file of paths and labels, and brought into a data set."""

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pigeonhole.errors import DatasetError
from pigeonhole.files import shown
from training.datasets.folder import cache, pictures
from training.datasets.folder.distinct import LeftOut
from training.datasets.kinds import DataSet
from training.datasets.splits import Split


@dataclass(frozen=True)
class Corrections:
    """What a file of corrections says.

    Args:
        file: It.
        labels: Path of a picture → index of its class.
        skipped: Lines without a label.
    """

    file: Path
    labels: Mapping[str, int]
    skipped: int


def read(file: Path, classes: Sequence[str], folders: Sequence[Path]) -> Corrections:
    """Read a CSV file of the columns `path` and `label`, and perhaps others.

    A person corrects only some: a line without a label says nothing. A path is looked for as it is, from the working
    folder, then beside the file, then in `folders`.

    Args:
        file: As `pigeonhole` writes results, or its report exports corrections.
        classes: What a label may be.
        folders: Where else the pictures may lie.

    Raises:
        DatasetError: It can't be read, a path leads to no file, a label is no class, or a picture has two.
    """
    labels: dict[str, int] = {}
    skipped = 0
    for line, path, label in _lines(file):
        if not label:
            skipped += 1
            continue
        if label not in classes:
            raise DatasetError(
                f"{file}, line {line}: {label!r} is none of the classes; they are {_few(classes)}. Mend the label, or "
                "leave it empty."
            )
        found = _found(path, (Path(), file.parent, *folders))
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


def bring(given: Sequence[Corrections], into: DataSet, scratch: Path) -> DataSet:
    """Give a data set a person's labels.

    A picture of the data set, known by its pixels as the network sees them, gets its label wherever it is: to train, to
    validate or to test on. Any other is added to what is trained on.

    Args:
        given: The later wins.
        into: The data set.
        scratch: A folder for the decoded pictures.

    Raises:
        DatasetError: There is no room for them.
    """
    paths = [path for one in given for path in one.labels]
    labels = [label for one in given for label in one.labels.values()]
    seen = cache.read(paths, into.preprocessing, scratch)
    wanted = {seen.digests[at].tobytes(): at for at in range(len(paths)) if at not in seen.failed}  # the last of equals
    parts = [split for split in (into.training, into.validation, into.test) if split is not None]
    corrected = [_corrected(split, wanted, labels) for split in parts]
    missing = sorted(set(wanted.values()) - {at for _split, found, _changed in corrected for at in found})
    training, validation, *test = (split for split, _found, _changed in corrected)
    changed = sum(changed for _split, _found, changed in corrected)
    told = (
        f"{', '.join(str(one.file) for one in given)}: {len(wanted):,} pictures with a label, of which the data set "
        f"had {len(wanted) - len(missing):,}, {changed:,} of them with another; {len(missing):,} are added. "
        f"Lines without a label, which are skipped: {sum(one.skipped for one in given):,}."
    )
    settled = {shown(os.path.abspath(paths[at])) for at in wanted.values()}  # whatever else was unclear about them
    return replace(
        into,
        training=_added(training, cache.rows(seen.images, np.array(missing)), [labels[at] for at in missing], scratch),
        validation=validation,
        test=test[0] if test else None,
        digest=_digest(into.digest, wanted, labels),
        notes=(*into.notes, told),
        left_out=(
            *(file for file in into.left_out if os.path.abspath(file.path) not in settled),
            *(LeftOut(shown(paths[at]), "unreadable", what) for at, what in seen.failed.items()),
        ),
        corrections=tuple(shown(os.path.abspath(one.file)) for one in given),
    )


def _lines(file: Path) -> Iterator[tuple[int, str, str]]:
    """Number, path and label of each line."""
    try:
        # Bytes that are not UTF-8 stay what they are in a path, and a byte order mark of a spreadsheet's is none.
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            rows = csv.DictReader(text, strict=True)
            missing = {"path", "label"} - set(rows.fieldnames or ())
            if missing:
                raise DatasetError(
                    f"{file} has no column {min(missing)!r}; it needs a first line with the names of its columns, "
                    "of which one is path and one label."
                )
            for row in rows:
                if row["path"]:
                    yield rows.line_num, row["path"], row["label"] or ""
    except csv.Error as exc:
        raise DatasetError(f"{file} is no CSV file ({exc}); --corrections takes one of paths and labels.") from exc
    except OSError as exc:
        raise DatasetError(f"{file}: can't be read ({exc.strerror or exc}); check --corrections.") from exc


def _found(path: str, folders: Sequence[Path]) -> str | None:
    return next((at for folder in folders if os.path.isfile(at := os.path.join(folder, path))), None)


def _few(classes: Sequence[str]) -> str:
    return ", ".join(classes[:10]) + (f" and {len(classes) - 10:,} others" if len(classes) > 10 else "")


def _corrected(split: Split, wanted: Mapping[bytes, int], labels: Sequence[int]) -> tuple[Split, set[int], int]:
    """The split with the wanted labels, which of these it has, and how many of its labels are others now."""
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
