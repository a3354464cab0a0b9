"""A check before a command replaces a file: it must be an earlier output of the same command, or empty."""

from collections.abc import Callable
from pathlib import Path

from pigeonhole.errors import UsageError

#: The element that marks an HTML page as ours.
GENERATOR = '<meta name="generator" content="Pigeonhole">'
#: The number of bytes at the beginning of a page that contain this element.
_HEAD = 4096


def check_own(path: str | Path, is_own: Callable[[Path], bool], overwrite: bool, option: str = "-o") -> None:
    """Raise UsageError if a command would replace a file that is not its own.

    Args:
        path: the file that the command will write.
        is_own: returns whether an existing file is an output of the command.
        overwrite: whether to replace any file.
        option: the option that sets the path, for the message.
    """
    file = Path(path)
    if overwrite or not file.is_file() or not file.stat().st_size or is_own(file):
        return
    raise not_own(str(path), option=option)


def not_own(path: str, why: str = "it is not this command's", option: str = "-o") -> UsageError:
    """Return the error for a file that exists and is not replaced."""
    return UsageError(f"{path!r} exists, and {why}: {remedy(option)}")


def remedy(option: str = "-o") -> str:
    """Return the advice to the user about a file that is not replaced."""
    return f"give --overwrite to replace it, or choose another place with {option}"


def is_our_page(path: Path) -> bool:
    """Return whether a file is a page that Pigeonhole wrote."""
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(_HEAD)
