"""A command replaces a file only if it is its own: an earlier result of the same command, or an empty file."""

from collections.abc import Callable
from pathlib import Path

from pigeonhole.errors import UsageError

#: The element by which our pages are known.
GENERATOR = '<meta name="generator" content="Pigeonhole">'
#: Bytes at the beginning of a page in which that stands.
_HEAD = 4096


def check_own(path: str | Path, is_own: Callable[[Path], bool], overwrite: bool, option: str = "-o") -> None:
    """Raise UsageError if a command would replace a file that is not its own.

    Args:
        path: of the file that the command will write.
        is_own: tells whether the file that is there is the command's own.
        overwrite: replace it whatever it is.
        option: that names another place.
    """
    file = Path(path)
    if overwrite or not file.is_file() or not file.stat().st_size or is_own(file):
        return
    raise not_own(str(path), option=option)


def not_own(path: str, why: str = "it is not this command's", option: str = "-o") -> UsageError:
    """Return the error for a file that exists and is not replaced."""
    return UsageError(f"{path!r} exists, and {why}: {remedy(option)}")


def remedy(option: str = "-o") -> str:
    """Return what to do about a file that is not replaced."""
    return f"give --overwrite to replace it, or choose another place with {option}"


def is_our_page(path: Path) -> bool:
    """Return whether a file is a page that Pigeonhole wrote."""
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(_HEAD)
