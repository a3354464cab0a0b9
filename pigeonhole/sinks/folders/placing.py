"""Rename a complete file without overwriting another one."""

import errno
import os
from contextlib import suppress

#: Errors of file systems that have no hard links, such as FAT.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


def place(part: str, at: str) -> None:
    """Rename a file unless the new name is taken.

    Args:
        part: the path of the file.
        at: its new path, on the same file system.

    Raises:
        FileExistsError: the new path exists.
        OSError: the file can't be renamed.
    """
    try:
        os.link(part, at)  # unlike `rename`, it fails if `at` exists
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        _place_without_links(part, at)
    else:
        os.unlink(part)


def clear(at: str) -> None:
    """Remove the empty file that a killed `place` may have left."""
    with suppress(FileNotFoundError):
        if os.lstat(at).st_size == 0:
            os.unlink(at)


def _place_without_links(part: str, at: str) -> None:
    os.close(os.open(at, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # reserves the name
    try:
        os.rename(part, at)
    except BaseException:
        os.unlink(at)
        raise
