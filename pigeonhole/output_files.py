"""Output files: what a path leads to, the lock of FILE.part, and how a complete file replaces another."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from pigeonhole.errors import OutputFailed

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


def check_free(part: str) -> None:
    """Raise OutputFailed if another command writes to a FILE.part."""
    with suppress(OSError), open(part, "ab", buffering=0) as file:
        _lock(file, part)


@contextmanager
def locked(part: str) -> Iterator[None]:
    """Lock the file at FILE.part, or an empty one that is removed again, so that only one command replaces it."""
    while True:
        with open(part, "ab", buffering=0) as file:
            _lock(file, part)
            if _is_at(part, file):
                try:
                    yield
                finally:
                    if _is_at(part, file) and not os.fstat(file.fileno()).st_size:
                        os.unlink(part)
                return


def new_part(part: str) -> BinaryIO:
    """Create and lock the file that will replace a FILE.part."""
    remove(part + NEW)  # of a command that was killed
    file = open(part + NEW, "xb", buffering=0)  # noqa: SIM115  # the sink closes it
    _lock(file, part)
    return file


def sync_folder(path: str) -> None:
    """Flush the name of a file to the disk."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems can't flush folders
            os.fsync(folder)
    finally:
        os.close(folder)


def _is_at(path: str, file: BinaryIO) -> bool:
    """Return whether an open file still has its name: another command may have replaced it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(file: BinaryIO, part: str) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise OutputFailed(
            f"{part!r} is being written by another command: wait for its end, or choose another place with -o"
        ) from exc
    except OSError:
        pass  # a file system without locks
