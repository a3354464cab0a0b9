"""True labels, from the images' folders or from a CSV file: `report --truth`."""

import csv
import os
import re
from typing import Protocol

from pigeonhole.errors import UsageError
from pigeonhole.sinks.path_labels import MissingColumns, path_labels

#: The value of `--truth` that takes each image's folder as its true label.
FOLDERS = "folders"


class Truth(Protocol):
    """Knows the true labels of images."""

    def of(self, path: str) -> str | None:
        """Return the true label of an image, "" if it belongs to no class, None if its label is not known."""

    def check(self) -> None:
        """Raise UsageError if the label of no image was known."""


def truth_of(value: str, images: str) -> Truth:
    """Return the true labels for a value of `--truth`.

    Args:
        value: `folders`, or the path of a CSV file with the columns `path` and `label`.
        images: the folder that the rows' paths are relative to.

    Raises:
        UsageError: the file can't be read, or lacks a column.
    """
    return FolderTruth() if value == FOLDERS else FileTruth(value, images)


class FolderTruth:
    """Takes the name of an image's folder as its true label."""

    def __init__(self) -> None:
        self._known = False

    def of(self, path: str) -> str | None:
        """Return the name of the folder or archive folder that an image is in."""
        parts = [part for part in re.split("/|::", path) if part not in ("", ".")]
        if len(parts) < 2:
            return None
        self._known = True
        return parts[-2]

    def check(self) -> None:
        """Raise UsageError if no path has a folder."""
        if not self._known:
            raise UsageError("--truth folders: no path has a folder; name a CSV file with the columns path and label")


class FileTruth:
    """Reads true labels from a CSV file, such as `corrections.csv`.

    Its paths are those of the rows, or relative to the file's folder.

    Args:
        file: path of the CSV file.
        images: the folder that the rows' paths are relative to.
    """

    def __init__(self, file: str, images: str) -> None:
        self._file, self._images = file, os.path.abspath(images)
        self._labels = _read(file)
        folder = os.path.dirname(os.path.abspath(file))
        self._absolute = {os.path.normpath(os.path.join(folder, path)): label for path, label in self._labels.items()}
        self._example, self._known = "", False

    def of(self, path: str) -> str | None:
        """Return the label of an image; None if the file does not have it."""
        self._example = self._example or path
        label = self._labels.get(path)
        if label is None:
            label = self._absolute.get(os.path.normpath(os.path.join(self._images, path)))
        self._known = self._known or label is not None
        return label

    def check(self) -> None:
        """Raise UsageError if the file has no path of the rows."""
        if not self._known and self._example:
            example = next(iter(self._labels), "no path at all")
            raise UsageError(
                f"--truth {self._file!r} has none of the rows' paths: it has {example!r}, the rows have "
                f"{self._example!r}. Write the paths as in the rows, or relative to the file's folder"
            )


def _read(file: str) -> dict[str, str]:
    """Return path → label of a CSV file, without the escapes of `--csv-safe`."""
    try:
        return {path: label for _, path, label in path_labels(file)}
    except MissingColumns as exc:
        raise UsageError(
            f"--truth {file!r} has no column {exc.names[0]!r}: its first line needs the columns path and label"
        ) from exc
    except OSError as exc:
        raise UsageError(f"--truth {file!r} can't be read: {exc.strerror}; name a CSV file, or {FOLDERS!r}") from exc
    except csv.Error as exc:
        raise UsageError(f"--truth {file!r} is not a CSV file: {exc}") from exc
