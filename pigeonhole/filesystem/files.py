"""Atomic writing of files: after a crash, a file is complete or does not exist."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from pigeonhole.errors import TrainingError


def write(path: Path, content: bytes) -> None:
    """Write a file atomically, and replace an existing one; a crash of the machine leaves no partial file.

    Raises:
        TrainingError: The file can't be written.
    """
    # In the same folder, because a rename can't cross file systems.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as exc:
        raise unwritable(path, exc) from exc
    finally:
        with suppress(OSError):  # it does not exist any more if all went well
            temporary.unlink()


def unwritable(path: Path, exc: OSError) -> TrainingError:
    """Return the error for a file that can't be written."""
    remedy = "make room" if exc.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another -o"
    return TrainingError(f"{path}: can't be written ({exc.strerror or exc}); {remedy}.")


def shown(path: str | os.PathLike[str]) -> str:
    r"""Return a path as text that can be printed: bytes that are not UTF-8 become escapes such as `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
