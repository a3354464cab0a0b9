"""Files that are whole or not there."""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, also when the machine stops; it replaces one of that name.

    Raises:
        OSError: It can't be written.
    """
    # In the same folder, so that the rename can't cross a file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # gone already when all went well
