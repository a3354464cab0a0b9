"""The resume state of a training in a file: tensors and plain values, never code."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pigeonhole.errors import TrainingError
from pigeonhole.filesystem import files

VERSION = 2


def file_of(output: Path) -> Path:
    """Return the path of the state of a training that writes `output`."""
    return output.with_name(f"{output.name}.resume")


def write(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a state atomically.

    Args:
        path: Path of the file.
        identity: JSON values that identify the training; only the same training can resume.
        state: State that `training.loop.epochs.fit` passes to `on_state`.

    Raises:
        TrainingError: The file can't be written.
    """
    content = io.BytesIO()
    torch.save({"version": VERSION, "order": dict(identity), "state": dict(state)}, content)
    files.write(path, content.getvalue())


def read(path: Path, identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read a state.

    Args:
        path: Path of the file.
        identity: JSON values that identify the training.

    Returns:
        The state.

    Raises:
        TrainingError: The file can't be read, or is the state of another training; the message has the differences.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version, theirs, state = content["version"], content["order"], content["state"]
    except Exception as exc:  # torch raises many types of errors for foreign files
        what = (str(exc) or type(exc).__name__).splitlines()[0]
        raise TrainingError(
            f"{path} is not the state of a training ({what}). Give --overwrite instead of --resume to start again."
        ) from exc
    if version != VERSION:
        raise TrainingError(f"{path}: another version wrote it. Give --overwrite instead of --resume to start again.")
    differences = list(_differences("", theirs, identity))
    if differences:
        raise TrainingError(
            f"{path} is the state of another training: {'; '.join(differences)}. Run the command that wrote it, or "
            "give --overwrite instead of --resume to start again."
        )
    return dict(state)


def _differences(name: str, theirs: Any, ours: Any) -> Iterator[str]:  # noqa: ANN401 - JSON of any shape
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for key in dict.fromkeys((*theirs, *ours)):
            yield from _differences(f"{name} {key}".strip(), theirs.get(key), ours.get(key))
    elif theirs != ours:
        yield f"{name} was {_short(theirs)} and is {_short(ours)}"


def _short(value: Any) -> str:  # noqa: ANN401 - JSON of any shape
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
