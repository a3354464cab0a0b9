"""The kinds of data sets that `--dataset SCHEME:PATH` can name. No torch here: the help of the commands lists them."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from pigeonhole.errors import DatasetError
from pigeonhole.registry import Registry

if TYPE_CHECKING:
    from training.datasets.data_set import DataSet

KINDS: Registry["DataSet"] = Registry(
    mnist="training.datasets.mnist:Mnist",
    folder="training.datasets.class_folders:ClassFolders",
    csv="training.datasets.csv_file:CsvFile",
)
DEFAULT = "mnist"


def kind(name: str) -> "type[DataSet]":
    """Return the class of the data set of a name.

    Raises:
        DatasetError: The scheme is not registered.
    """
    scheme = name.partition(":")[0]
    if scheme not in KINDS:
        near = difflib.get_close_matches(scheme, KINDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DatasetError(f"There is no data set {name!r}: {hint}--dataset takes {', '.join(KINDS)}, as SCHEME:PATH.")
    return KINDS.load(scheme)


def find(name: str, data: Path | None = None) -> "DataSet":
    """Return the data set of a name.

    Args:
        name: Scheme, and perhaps a colon and the path.
        data: Path of the data set if the name has none; None for `data` in the working folder.

    Raises:
        DatasetError: The scheme is not registered, or both `name` and `data` give a path.
    """
    found, path = kind(name), name.partition(":")[2]
    if path and data is not None:
        raise DatasetError(f"{name} and --data {data} both name a path; leave --data out.")
    return found(path or str(data or "data"))
