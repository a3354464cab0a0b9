"""The log of a training, JSON lines beside its checkpoint: the configuration, each epoch, the result."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pigeonhole import provenance
from pigeonhole.filesystem import files

#: First bytes of each line.
_START = b'{"event": '


def file_of(output: Path) -> Path:
    """Return the path of the log of a training that writes `output`."""
    return output.with_suffix(".log.jsonl")


def is_log(path: Path) -> bool:
    """Return whether a file is the log of a training."""
    with path.open("rb") as file:
        return file.read(len(_START)) == _START


class Log:
    """A log file, to which whole lines are written.

    Args:
        path: Path of the file.
        append: Whether to append to a file that exists; otherwise it is replaced.

    Raises:
        TrainingError: The file can't be written.
    """

    def __init__(self, path: Path, append: bool) -> None:
        self._path = path
        try:
            if not append or not path.exists():
                path.write_bytes(b"")
            elif not (content := path.read_bytes()).endswith(b"\n"):
                os.truncate(path, content.rfind(b"\n") + 1)  # the process or the machine stopped while it wrote a line
        except OSError as exc:
            raise files.unwritable(path, exc) from exc

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Append a line.

        Args:
            event: "order" for the configuration, "left-out", "resume", "epoch" or "end".
            values: Further keys of the line, plain JSON values.

        Raises:
            TrainingError: The file can't be written.
        """
        line = json.dumps({"event": event, "time": provenance.now(), **values}, ensure_ascii=False, allow_nan=False)
        try:
            with self._path.open("ab") as file:
                file.write(f"{line}\n".encode())
        except OSError as exc:
            raise files.unwritable(self._path, exc) from exc
