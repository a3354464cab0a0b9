"""What a training did, as JSON lines beside its checkpoint: the order, each epoch, the result."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pigeonhole import files, provenance

#: What each line begins with.
_START = b'{"event": '


def file_of(output: Path) -> Path:
    """Where the log of a training lies that will write `output`."""
    return output.with_suffix(".log.jsonl")


def is_log(path: Path) -> bool:
    """Return whether a file is the log of a training."""
    with path.open("rb") as file:
        return file.read(len(_START)) == _START


class Log:
    """Lines, each whole as soon as it is written.

    Args:
        path: Of the file.
        append: Go on after what is there; otherwise it is replaced.

    Raises:
        TrainingError: It can't be written.
    """

    def __init__(self, path: Path, append: bool) -> None:
        self._path = path
        try:
            if not append or not path.exists():
                path.write_bytes(b"")
            elif not (content := path.read_bytes()).endswith(b"\n"):
                os.truncate(path, content.rfind(b"\n") + 1)  # the machine stopped in the middle of a line
        except OSError as exc:
            raise files.unwritable(path, exc) from exc

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Add a line.

        Args:
            event: "order", "resume", "epoch" or "end".
            values: What else it says, plain JSON values.

        Raises:
            TrainingError: It can't be written.
        """
        line = json.dumps({"event": event, "time": provenance.now(), **values}, ensure_ascii=False, allow_nan=False)
        try:
            with self._path.open("ab") as file:
                file.write(f"{line}\n".encode())
        except OSError as exc:
            raise files.unwritable(self._path, exc) from exc
