"""A CSV file that names pictures and their labels."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from pigeonhole.errors import DatasetError
from pigeonhole.filesystem import nearby
from pigeonhole.filesystem.files import shown
from pigeonhole.sinks.path_labels import MissingColumns, path_labels
from training.datasets.files.distinct import TRAINING, Picture
from training.datasets.picture_files import PictureFiles


class CsvFile(PictureFiles):
    """`csv:FILE`: columns `path` and `label`; a relative path starts from the folder of the file."""

    scheme = "csv"
    layout = "a line with path and label for each picture"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a path is that of a CSV file."""
        return path.suffix.lower() == ".csv" and path.is_file()

    def check_path(self) -> None:
        """Raise DatasetError if there is no file at the path."""
        super().check_path()
        if self.path.is_dir():
            name = shown(self.path)
            raise DatasetError(f"{name} is a folder, and csv:FILE takes a file; did you mean folder:{name}?")

    @property
    def folder(self) -> Path:
        """Folder that relative paths start from."""
        return self.path.parent

    def list_files(self) -> tuple[tuple[str, ...], tuple[Picture, ...]]:
        """List the pictures of the lines; all are in the training part."""
        labelled: set[tuple[str, str]] = set()
        for line, path, label in rows(self.path):
            if not label:
                raise DatasetError(f"{self.path}, line {line}: the label is empty. Add it, or remove the line.")
            labelled.add((label, os.path.join(self.folder, path)))
        classes = sorted({label for label, _path in labelled})
        index = {name: at for at, name in enumerate(classes)}
        return tuple(classes), tuple(Picture(TRAINING, index[label], path) for label, path in sorted(labelled))


def rows(file: Path) -> Iterator[tuple[int, str, str]]:
    """Yield number, path and label of each line that has a path; the changes of `--csv-safe` are undone.

    Args:
        file: CSV file with a header; columns other than `path` and `label` are ignored.

    Raises:
        DatasetError: The file can't be read, is not CSV, or lacks one of the two columns.
    """
    try:
        yield from path_labels(file)
    except MissingColumns as exc:
        raise DatasetError(
            f"{file} has no column {min(exc.names)!r}. Its first line must name the columns, with path and label "
            "among them."
        ) from exc
    except csv.Error as exc:
        raise DatasetError(f"{file} is not a CSV file ({exc}). It needs the columns path and label.") from exc
    except FileNotFoundError as exc:
        raise DatasetError(f"{nearby.missing(file)} Check the path.") from exc
    except OSError as exc:
        raise DatasetError(f"{file}: can't be read ({exc.strerror or exc}); check the path.") from exc
