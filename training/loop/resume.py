"""A training's state in a file, from which an interrupted one goes on: tensors and plain values, never code."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pigeonhole import files
from pigeonhole.errors import TrainingError

VERSION = 2


def file_of(output: Path) -> Path:
    """Where the state of a training lies that will write `output`."""
    return output.with_name(f"{output.name}.resume")


def write(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all.

    Args:
        path: Of the file.
        order: What the training is, as JSON values; who goes on must have the same.
        state: As of `training.loop.epochs.fit`.

    Raises:
        TrainingError: It can't be written.
    """
    content = io.BytesIO()
    torch.save({"version": VERSION, "order": dict(identity), "state": dict(state)}, content)
    files.write(path, content.getvalue())


def read(path: Path, identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read a state back.

    Args:
        path: Of the file.
        order: As it was written with.

    Returns:
        The state.

    Raises:
        TrainingError: It can't be read, or is of another training; what differs is said.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version, theirs, state = content["version"], content["order"], content["state"]
    except Exception as exc:  # torch's readers raise just about anything on what is no file of theirs
        what = (str(exc) or type(exc).__name__).splitlines()[0]
        raise TrainingError(
            f"{path}: it is not the state of a training ({what}); give --overwrite in place of --resume to start again."
        ) from exc
    if version != VERSION:
        raise TrainingError(f"{path}: another version wrote it; give --overwrite in place of --resume to start again.")
    differences = list(_differences("", theirs, identity))
    if differences:
        raise TrainingError(
            f"{path}: it is of another training: {'; '.join(differences)}. Give the command that it is of, or "
            "--overwrite in place of --resume to start again."
        )
    return dict(state)


def _differences(name: str, theirs: Any, ours: Any) -> Iterator[str]:  # noqa: ANN401 - JSON of any shape
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for key in dict.fromkeys((*theirs, *ours)):
            yield from _differences(f"{name} {key}".strip(), theirs.get(key), ours.get(key))
    elif theirs != ours:
        yield f"{name} was {_short(theirs)} and is {_short(ours)}"


def _short(value: Any) -> str:  # noqa: ANN401 - likewise
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
