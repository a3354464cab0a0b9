"""A folder that holds one folder of pictures for each class."""

import os
from collections.abc import Iterator
from pathlib import Path

from pigeonhole.errors import DatasetError
from pigeonhole.filesystem.files import shown
from training.datasets.files.distinct import TEST, TRAINING, VALIDATION, Picture
from training.datasets.picture_files import PictureFiles

#: Name of a folder that holds class folders → the part that it is.
PARTS = {"train": TRAINING, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION, "test": TEST}


class ClassFolders(PictureFiles):
    """`folder:DIR`: class folders, or `train`, and perhaps `val` and `test`, that hold class folders.

    Files may lie at any depth in a class's folder. Hidden files and folders, links to folders below a class's folder,
    and files beside the class folders are left out.
    """

    scheme = "folder"
    layout = "one folder of pictures for each, named as the class"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a folder holds folders."""
        return path.is_dir() and bool(_folders(path))

    def check_path(self) -> None:
        """Raise DatasetError if there is no folder at the path."""
        super().check_path()
        if not self.path.is_dir():
            meant = f"; did you mean csv:{self.path}?" if self.path.suffix.lower() == ".csv" else "."
            raise DatasetError(f"{shown(self.path)} is a file, and folder:DIR takes a folder{meant}")

    def list_files(self) -> tuple[tuple[str, ...], tuple[Picture, ...]]:
        """List the files of all parts."""
        tops = self._tops()
        classes = sorted({name for _part, top in tops for name in _folders(top)})
        index = {name: label for label, name in enumerate(classes)}
        pictures = tuple(
            Picture(part, index[name], path)
            for part, top in tops
            for name in _folders(top)
            for path in _files(os.path.join(top, name))
        )
        return tuple(classes), pictures

    def _tops(self) -> list[tuple[str, Path]]:
        """Return the folders that hold class folders, each with its part."""
        names = _folders(self.path)
        divided = [name for name in names if name in PARTS]
        if "train" not in divided or not _folders(self.path / "train"):
            return [(TRAINING, self.path)]
        others = [name for name in names if name not in PARTS]
        if others:
            raise DatasetError(
                f"{self.path} has {', '.join(f'{name}/' for name in divided)} and also {others[0]!r}. It needs one "
                "folder for each class, or only train/, val/ and test/, which hold the class folders."
            )
        return [(PARTS[name], self.path / name) for name in divided]


def _folders(top: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones."""
    try:
        with os.scandir(top) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as exc:
        raise _unreadable(top, exc) from exc


def _files(top: str) -> Iterator[str]:
    """Yield the sorted paths of the files below a folder, without hidden ones, and without following links."""

    def fail(exc: OSError) -> None:
        raise _unreadable(exc.filename or top, exc) from exc

    for folder, below, names in os.walk(top, onerror=fail):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(folder, name)


def _unreadable(path: Path | str, exc: OSError) -> DatasetError:
    return DatasetError(f"{path}: can't be read ({exc.strerror or exc}); check the path.")
