"""Files that rows go to: what a path stands for, who writes to it, and how one takes another's place."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from pigeonhole.errors import OutputFailed

#: What the file ends with that takes the place of one of ours once it is whole.
NEW = ".new"
#: Of links one behind the other, as many as Linux follows.
DEEPEST_LINK = 40


def target(path: str) -> str:
    """Give the file that a path leads to: a link's target is what takes its place, not the link."""
    return os.path.realpath(path) if os.path.islink(path) else path


def descriptor(path: str) -> int | None:
    """Give the open file that a path stands for, as /dev/stdout, /dev/fd/1 or a link to one does; None: none."""
    for _ in range(DEEPEST_LINK):
        folder, name = os.path.split(path)
        if name.isdecimal() and os.path.realpath(folder) == os.path.realpath("/dev/fd"):
            return int(name)
        try:
            path = os.path.join(folder, os.readlink(path))
        except OSError:
            break  # no link, or none that we may follow
    return None


def is_special(path: str) -> bool:
    """Tell whether a path is something else than a file, or what may become one."""
    if descriptor(path) is not None:
        return True  # whatever is open there: to replace a file of somebody's `>>` would lose what it has
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def remove(*paths: str) -> None:
    """Remove what there is of some files."""
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)


def check_free(part: str) -> None:
    """Raise OutputFailed if another command writes to a `FILE.part` now."""
    with suppress(OSError), open(part, "ab", buffering=0) as file:
        _lock(file, part)


@contextmanager
def locked(part: str) -> Iterator[None]:
    """Have the lock of what is at a path now, so that whoever puts something else there does so alone."""
    while True:
        with open(part, "ab", buffering=0) as file:
            _lock(file, part)
            if _is_at(part, file):
                try:
                    yield
                finally:
                    if _is_at(part, file) and not os.fstat(file.fileno()).st_size:
                        os.unlink(part)  # nothing came of it, and there was nothing before
                return


def _is_at(path: str, file: BinaryIO) -> bool:
    """Tell whether a file has still the name it was opened by: another command may just have given it another."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def open_special(path: str) -> BinaryIO:
    """Open what is no file for us to replace; what is open already as it is, since opening it anew would empty it."""
    number = descriptor(path)
    return open(path if number is None else os.dup(number), "wb", buffering=0)


def new_part(part: str) -> BinaryIO:
    """Begin the file that takes the place of a `FILE.part` once it is whole; it is locked as that is."""
    remove(part + NEW)  # of a command that was killed
    file = open(part + NEW, "xb", buffering=0)  # noqa: SIM115  # the sink's
    _lock(file, part)
    return file


def _lock(file: BinaryIO, part: str) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise OutputFailed(
            f"{part!r} is being written by another command: wait for its end, or choose another place with -o"
        ) from exc
    except OSError:
        pass  # a file system without locks


def sync_folder(path: str) -> None:
    """Have the system write a file's name to the disk."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError:
        pass  # some file systems have no such thing for folders
    finally:
        os.close(folder)
