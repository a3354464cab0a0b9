"""Move a complete file to its name without ever overwriting another one."""

import errno
import os
from contextlib import suppress

#: Errors of file systems that have no hard links, such as FAT.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


def place(part: str, at: str) -> None:
    """Rename a file to a name that is free.

    Args:
        part: the file.
        at: its new name, on the same file system.

    Raises:
        FileExistsError: the name is taken.
        OSError: it can't have that name.
    """
    try:
        os.link(part, at)  # unlike `rename`, it fails where something has the name
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        _place_without_links(part, at)
    else:
        os.unlink(part)


def clear(at: str) -> None:
    """Remove the empty file that `place` leaves at a name if it is killed."""
    with suppress(FileNotFoundError):
        if os.lstat(at).st_size == 0:
            os.unlink(at)


def _place_without_links(part: str, at: str) -> None:
    os.close(os.open(at, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # the name is ours now
    try:
        os.rename(part, at)
    except BaseException:
        os.unlink(at)
        raise
