"""Output files: links, pipes and devices as outputs, and removing and flushing files."""

import os
import stat
from contextlib import suppress
from typing import BinaryIO

#: Suffix of a file that is not complete yet.
PART = ".part"
#: Suffix of a complete file that is about to replace another.
NEW = ".new"
#: The longest chain of links that is followed; Linux has the same limit.
DEEPEST_LINK = 40


def target(path: str) -> str:
    """Return the target of a link, or the path itself: rows replace a link's target, not the link."""
    return os.path.realpath(path) if os.path.islink(path) else path


def descriptor(path: str) -> int | None:
    """Return the file descriptor of /dev/stdout, /dev/fd/1 or a link to one of these; None for other paths."""
    for _ in range(DEEPEST_LINK):
        folder, name = os.path.split(path)
        if name.isdecimal() and os.path.realpath(folder) == os.path.realpath("/dev/fd"):
            return int(name)
        try:
            path = os.path.join(folder, os.readlink(path))
        except OSError:
            break  # it is not a link, or we may not read it
    return None


def is_special(path: str) -> bool:
    """Return whether rows must be written to a path directly: a pipe, a device, or an open file descriptor."""
    with suppress(OSError):
        return descriptor(path) is not None or not stat.S_ISREG(os.stat(path).st_mode)
    return False


def open_special(path: str) -> BinaryIO:
    """Open a special path. A file descriptor is duplicated, because opening its file again would empty it."""
    number = descriptor(path)
    return open(path if number is None else os.dup(number), "wb", buffering=0)


def remove(*paths: str) -> None:
    """Remove the files that exist."""
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)


def sync_folder(path: str) -> None:
    """Flush the folder of a file to the disk, so that a new name of the file survives a crash."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems can't flush folders
            os.fsync(folder)
    finally:
        os.close(folder)
