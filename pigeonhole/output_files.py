"""Output files: what a path leads to, and how a complete file replaces another."""

import os
import stat
from contextlib import suppress
from typing import BinaryIO

#: Suffix of a file that grows until it is complete.
PART = ".part"
#: Suffix of a file that replaces another one once it is complete.
NEW = ".new"
#: The longest chain of links that is followed, as in Linux.
DEEPEST_LINK = 40


def target(path: str) -> str:
    """Return the file that a path leads to: rows replace a link's target, not the link."""
    return os.path.realpath(path) if os.path.islink(path) else path


def descriptor(path: str) -> int | None:
    """Return the open file that /dev/stdout, /dev/fd/1 or a link to one stands for; None for other paths."""
    for _ in range(DEEPEST_LINK):
        folder, name = os.path.split(path)
        if name.isdecimal() and os.path.realpath(folder) == os.path.realpath("/dev/fd"):
            return int(name)
        try:
            path = os.path.join(folder, os.readlink(path))
        except OSError:
            break  # no link, or one that we may not follow
    return None


def is_special(path: str) -> bool:
    """Return whether rows are written to a path directly: a pipe, a device, or a file that is open already."""
    with suppress(OSError):
        return descriptor(path) is not None or not stat.S_ISREG(os.stat(path).st_mode)
    return False


def open_special(path: str) -> BinaryIO:
    """Open such a path; an open file is duplicated, since opening it again would empty it."""
    number = descriptor(path)
    return open(path if number is None else os.dup(number), "wb", buffering=0)


def remove(*paths: str) -> None:
    """Remove files, as far as they exist."""
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)


def sync_folder(path: str) -> None:
    """Flush the name of a file to the disk."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems can't flush folders
            os.fsync(folder)
    finally:
        os.close(folder)
