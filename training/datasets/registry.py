"""The registry of data sets that `--dataset SCHEME:PATH` can name. It imports no torch, since --help lists them."""

from pathlib import Path
from typing import TYPE_CHECKING

from pigeonhole.errors import DatasetError
from pigeonhole.filesystem.files import shown
from pigeonhole.filesystem.nearby import missing
from pigeonhole.registry import Registry
from pigeonhole.text import similar

if TYPE_CHECKING:
    from training.datasets.data_set import DataSet

KINDS: Registry["DataSet"] = Registry(
    mnist="training.datasets.mnist:Mnist",
    folder="training.datasets.class_folders:ClassFolders",
    csv="training.datasets.csv_file:CsvFile",
)
DEFAULT = "mnist"
FOLDER = Path("data")  # default path of a data set
NEEDED = (
    "a folder with one folder of pictures for each class, a CSV file (.csv) with the columns path and label, or a "
    "folder that holds MNIST/raw"
)


def kind(name: str) -> "type[DataSet]":
    """Return the class that implements the data set of a name.

    Raises:
        DatasetError: The scheme is not registered.
    """
    scheme = name.partition(":")[0]
    if scheme not in KINDS:
        raise DatasetError(
            f"There is no data set {name!r}: {_hint(name)}--dataset takes {', '.join(KINDS)}, as SCHEME:PATH."
        )
    return KINDS.load(scheme)


def find(name: str, data: Path | None = None) -> "DataSet":
    """Return the data set of a name.

    Args:
        name: Scheme, optionally with a colon and the path.
        data: Path of the data set if the name has none; None for `data` in the working folder.

    Raises:
        DatasetError: The scheme is not registered, both `name` and `data` have a path, or the path holds no such data.
    """
    found, path = kind(name), name.partition(":")[2]
    if path and data is not None:
        raise DatasetError(f"{name} and --data {data} both name a path; leave --data out.")
    data_set = found(path or str(data or FOLDER))
    data_set.check_path()
    return data_set


def at(path: Path) -> str | None:
    """Return the scheme of the data set at a path; None if no kind recognises it."""
    return next((scheme for scheme in KINDS if kind(scheme).recognises(path)), None)


def name_of(dataset: str | None, data: Path | None, recorded: str | None = None) -> str | None:
    """Return the name of the data set for a command.

    The first of these counts: the option `--dataset`, the data at `--data`, the name that a checkpoint records, the
    data in the folder `data`. None if there is none of them.

    Args:
        dataset: The option `--dataset`.
        data: The option `--data`.
        recorded: Name of the data set that a checkpoint was trained on.

    Raises:
        DatasetError: `data` does not exist, or holds no data set.
    """
    if dataset is not None:
        return dataset
    if data is None and recorded and ":" in recorded:
        return recorded
    found = at(data or FOLDER)
    if found is None and data is not None:
        what = f"{shown(data)} holds no data set." if data.exists() else missing(data)
        raise DatasetError(f"{what} --data takes {NEEDED}.")
    return found or recorded


def _hint(name: str) -> str:
    """Return a text such as `did you mean folder:photos? `; empty if no name is similar."""
    path = Path(name)
    if path.exists() and (scheme := at(path)):
        return f"did you mean {scheme}:{name}? "
    near = similar(name.partition(":")[0], KINDS)
    return f"did you mean {near}? " if near else ""
