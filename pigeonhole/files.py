"""Files that are whole or not there."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from pigeonhole.errors import TrainingError


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, also when the machine stops; it replaces one of that name.

    Raises:
        TrainingError: It can't be written.
    """
    # In the same folder, so that the rename can't cross a file system.
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
        with suppress(OSError):  # gone already when all went well
            temporary.unlink()


def unwritable(path: Path, exc: OSError) -> TrainingError:
    """Return the error for a file that can't be written."""
    remedy = "make room" if exc.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another -o"
    return TrainingError(f"{path}: can't be written ({exc.strerror or exc}); {remedy}.")


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that any output takes: bytes that are not UTF-8 show as such."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
