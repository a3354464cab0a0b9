"""Which pictures a folder holds, what each is labelled, and which part of a training it is for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pigeonhole.errors import DatasetError

#: The answers to a batch count classes in 16 bits (`pigeonhole.ledger.messages`, which a test compares).
MOST_CLASSES = 65_535

TRAINING, VALIDATION, TEST = "training", "validation", "test"
#: What a folder of class folders may be called, and the part that it is.
PARTS = {"train": TRAINING, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION, "test": TEST}


@dataclass(frozen=True)
class Picture:
    """One file.

    Args:
        path: Of the file.
        label: Index of its class.
        part: `TRAINING`, `VALIDATION` or `TEST`.
    """

    path: str
    label: int
    part: str


@dataclass(frozen=True)
class Listing:
    """The files of a folder, none of which has been opened.

    Args:
        root: The folder.
        classes: The names of the class folders, sorted.
        pictures: By part, class and path.
    """

    root: Path
    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]

    def has(self, part: str) -> bool:
        """Whether any picture is of that part."""
        return any(picture.part == part for picture in self.pictures)


def listed(root: Path) -> Listing:
    """List a folder of class folders, or one of `train`, and perhaps `val` and `test`, that are such.

    Files may lie at any depth within a class's folder. Hidden ones, and files beside the class folders, are no part of
    the data; which of the others can be read as pictures is not looked at.

    Args:
        root: The folder.

    Raises:
        DatasetError: It is no such folder, can't be read, or its classes are too few, too many or can't be named.
    """
    top = _folders(root)
    divided = {name: PARTS[name] for name in top if name in PARTS}
    if "train" not in divided or not _folders(root / "train"):
        return _listing(root, {TRAINING: [root]})
    others = [name for name in top if name not in PARTS]
    if others:
        raise DatasetError(
            f"{root} has {', '.join(f'{name}/' for name in divided)} and also {others[0]!r}; it needs one folder for "
            "each class, or train/, val/ and test/ that hold these, and nothing beside them."
        )
    tops: dict[str, list[Path]] = {}
    for name, part in divided.items():
        tops.setdefault(part, []).append(root / name)
    return _listing(root, tops)


def _listing(root: Path, tops: dict[str, list[Path]]) -> Listing:
    classes = _classes(root, tops[TRAINING][0])
    index = {name: label for label, name in enumerate(classes)}
    pictures = []
    for part, folders in tops.items():
        for top in folders:
            for name in _folders(top):
                if name not in index:
                    raise DatasetError(
                        f"{top} has a class {name!r}, of which there is nothing in {tops[TRAINING][0]} to train on; "
                        "add some there, or take its folder away."
                    )
                pictures += [Picture(path, index[name], part) for path in _files(os.path.join(top, name))]
    return Listing(root, classes, tuple(pictures))


def _classes(root: Path, top: Path) -> tuple[str, ...]:
    names = _folders(top)
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "none"
        raise DatasetError(
            f"{top} needs a folder of pictures for each class, named as the class, and at least two; it has {found}."
        )
    if len(names) > MOST_CLASSES:
        raise DatasetError(f"{root} has {len(names):,} classes, and a worker can name {MOST_CLASSES:,} at most.")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            raise DatasetError(
                f"{top} has a class whose name is not UTF-8: {os.fsencode(name)!r}; rename that folder."
            ) from exc
    return tuple(names)


def _folders(top: Path) -> list[str]:
    """The names of the folders in one, sorted; hidden ones are left out."""
    try:
        with os.scandir(top) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except NotADirectoryError as exc:
        raise DatasetError(f"{top} is not a folder; --dataset folder:DIR names one of class folders.") from exc
    except OSError as exc:
        raise _unreadable(top, exc) from exc


def _files(top: str) -> Iterator[str]:
    """The files below a folder, sorted; hidden ones, and folders that are links, are left out."""

    def fail(exc: OSError) -> None:
        raise _unreadable(exc.filename or top, exc) from exc

    for folder, below, names in os.walk(top, onerror=fail):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(folder, name)


def _unreadable(path: Path | str, exc: OSError) -> DatasetError:
    return DatasetError(f"{path}: can't be read ({exc.strerror or exc}); check --dataset folder:DIR.")
