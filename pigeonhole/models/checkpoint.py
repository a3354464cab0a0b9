"""Checkpoints: the only module that saves or loads model files.

A checkpoint is one safetensors file: the weights, and one metadata key, `pigeonhole`, whose JSON is the record
(`pigeonhole.models.record`). It is one key because the library writes several in random order. Reading the record needs
the standard library only; torch is imported where weights are read.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pigeonhole import files
from pigeonhole.errors import CheckpointError, TrainingError
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.record import Calibration, Checkpoint, Cost, check_name

if TYPE_CHECKING:
    from torch import Tensor

    from pigeonhole.models.networks.network import Network

__all__ = ["Calibration", "Checkpoint", "Cost", "check_name", "describe", "find", "load", "save"]

KEY = "pigeonhole"
SUFFIX = ".safetensors"

_SHIPPED = Path(__file__).resolve().parent / "shipped"
_MAX_HEADER = 10_000_000  # bytes; ours have some thousands, and a tenth of the library's own limit is read in a second
_MAX_TEXT = 200  # characters of a library's message, which may quote a damaged file at any length
_MAX_ARGUMENT = 2048  # of a network: channels, layers; two layers of that many channels take 150 MB
_MAX_DIMENSIONS = 16  # of a tensor; a convolution's weights have 4
_DTYPES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1}


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file of a checkpoint: a path, or the name of a shipped one (`digits`).

    A shipped name wins over a file of that name in the working folder; write `./digits` for the file.

    Raises:
        CheckpointError: It is neither.
    """
    text = os.fspath(name_or_path)
    shipped = _SHIPPED / f"{text}{SUFFIX}"
    if os.sep not in text and shipped.is_file():
        return shipped
    path = Path(text)
    if path.is_file():
        return path
    names = ", ".join(sorted(file.stem for file in _SHIPPED.glob(f"*{SUFFIX}"))) or "none"
    what = "is a folder" if path.is_dir() else "doesn't exist"
    raise CheckpointError(
        f"The checkpoint {text!r} {what}; give a {SUFFIX} file, or the name of a shipped one: {names}."
    )


def describe(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the record of a checkpoint, and check that the file is whole.

    It reads the header only, however large the weights are. `load` verifies weights and digest.

    Raises:
        CheckpointError: It is missing, truncated, no checkpoint of ours, or of an unknown version or network.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _checked(_header(file.read(8), file.read, os.fstat(file.fileno()).st_size))
    except CheckpointError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc
    except OSError as exc:
        raise CheckpointError(f"{path}: can't be read ({exc.strerror or exc}); check the path.") from exc


def load(path: str | os.PathLike[str], device: str = "cpu") -> tuple[Checkpoint, "Network"]:
    """Read a checkpoint and build its network.

    Args:
        path: The file.
        device: torch's name of it: "cpu", "cuda", "cuda:1".

    Returns:
        The record, and the network in eval mode on that device.

    Raises:
        CheckpointError: As `describe`; or the weights don't fit the network, hold NaN or infinity, or don't match
            the digest.
    """
    checkpoint = describe(path)
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as exc:
        raise CheckpointError(f"{path}: its weights can't be read ({exc}); copy or make it again.") from exc

    try:
        _check_arguments(checkpoint.arguments)
        network = networks.build(checkpoint.network, checkpoint.arguments, checkpoint.logits).fold()
        _check_weights(weights, network.state_dict())
    except TrainingError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc
    found = _digest(checkpoint, weights)
    if found != checkpoint.digest:
        raise CheckpointError(
            f"{path}: its content has the digest {found[:12]}…, and it says {checkpoint.digest[:12]}…; "
            "it was changed after it was written: copy or make it again."
        )
    network.load_state_dict(weights)
    try:
        return checkpoint, network.to(device).eval()
    except (RuntimeError, AssertionError, ValueError) as exc:
        # torch says "Torch not compiled with CUDA enabled" with an AssertionError.
        available = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise CheckpointError(f"The device {device!r} can't be used ({exc}); this machine has: {available}.") from exc


def save(path: str | os.PathLike[str], network: "Network", checkpoint: Checkpoint) -> Checkpoint:
    """Write a checkpoint: whole or not at all, and the same bytes for the same content.

    Args:
        path: The file; replaced if it exists.
        network: Trained, on any device; it is saved folded (`Network.fold`).
        checkpoint: Its record; cost and digest are computed here.

    Returns:
        The record, as `describe` reads it back.

    Raises:
        CheckpointError: The content could not be loaded again.
        TrainingError: The file can't be written.
    """
    from safetensors.torch import save as serialise

    served = network.folded()
    weights = {key: value.contiguous() for key, value in served.state_dict().items()}
    expected = networks.build(checkpoint.network, checkpoint.arguments, checkpoint.logits).fold()
    _check_weights(weights, expected.state_dict())
    cost = Cost(*served.cost(checkpoint.preprocessing))
    # Through JSON and back, so that what is returned is what will be read: lists for tuples, and so on.
    text = replace(checkpoint, cost=cost, digest=_digest(checkpoint, weights)).to_json()
    files.write(Path(path), serialise(weights, metadata={KEY: text}))
    return Checkpoint.from_json(text)


def _header(length: bytes, read: Any, size: int) -> dict[str, Any]:  # noqa: ANN401 - a bound method
    """Parse a safetensors header: 8 bytes of its length, little-endian; JSON; then the tensors, end to end."""
    count = int.from_bytes(length, "little")
    if len(length) < 8:
        raise CheckpointError("It is not a safetensors file.")
    if not 2 <= count <= _MAX_HEADER:
        raise CheckpointError(f"It is not a safetensors file: its header would take {count:,} bytes.")
    content = read(min(count, size))
    if not content.startswith(b"{"):
        raise CheckpointError("It is not a safetensors file.")
    if len(content) < count:
        raise CheckpointError(f"It is truncated: {size} bytes, and its header alone takes {8 + count}; copy it again.")
    try:
        header = json.loads(content)
        ends = [_end(entry) for key, entry in header.items() if key != "__metadata__"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        text = str(exc)[:_MAX_TEXT]
        raise CheckpointError(f"It is not a safetensors file: its header is damaged ({text}).") from exc
    whole = 8 + count + max(ends, default=0)
    if size != whole:
        what = "truncated" if size < whole else "longer than its header says"
        raise CheckpointError(f"It is {what}: {size} bytes instead of {whole}; copy it again.")
    return dict(header)


def _end(entry: Mapping[str, Any]) -> int:
    begin, end = entry["data_offsets"]
    shape = entry["shape"]
    # Before they are multiplied: numbers of any length take hours, and a text times a number takes all memory.
    if len(shape) > _MAX_DIMENSIONS or not all(type(x) is int and 0 <= x < 2**63 for x in (begin, end, *shape)):
        raise ValueError(f"offsets {begin!r} to {end!r} for the shape {shape!r}")
    if begin > end or end - begin != math.prod(shape) * _DTYPES[entry["dtype"]]:
        raise ValueError(f"offsets {begin} to {end} for {entry['dtype']} {shape}")
    return int(end)


def _checked(header: Mapping[str, Any]) -> Checkpoint:
    metadata = header.get("__metadata__")
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            "It is a safetensors file, though no pigeonhole checkpoint; make one with `pigeonhole train` or `import`."
        )
    try:
        checkpoint = Checkpoint.from_json(text)
    except RecursionError as exc:
        raise CheckpointError("Its metadata is nested too deeply for any that we write.") from exc
    if checkpoint.network not in networks.NETWORKS and checkpoint.arguments.get("library") != "torchvision":
        raise CheckpointError(
            f"It needs the network {checkpoint.network!r}, and this version knows "
            f"{', '.join(networks.NETWORKS)}; use a newer pigeonhole."
        )
    return checkpoint


def _check_arguments(value: object) -> None:
    """Refuse arguments of a network that takes many times the memory of the weights in the file."""
    if isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            _check_arguments(part)
    elif isinstance(value, int | float) and not abs(value) <= _MAX_ARGUMENT:
        raise CheckpointError(f"A network's argument must be a number up to {_MAX_ARGUMENT}, not {str(value)[:20]}.")


def _check_weights(weights: Mapping[str, "Tensor"], expected: Mapping[str, "Tensor"]) -> None:
    import torch

    missing, unknown = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r} too many"
        raise CheckpointError(f"The weights don't fit the network: it {what}.")
    for key, value in weights.items():
        wanted = expected[key]
        if value.shape != wanted.shape or value.dtype != wanted.dtype:
            raise CheckpointError(
                f"The weights don't fit the network: {key!r} is {value.dtype} {list(value.shape)}, "
                f"not {wanted.dtype} {list(wanted.shape)}."
            )
        if not torch.isfinite(value).all():
            raise CheckpointError(f"The weights {key!r} hold NaN or infinity: training diverged; train again.")


def _digest(checkpoint: Checkpoint, weights: Mapping[str, "Tensor"]) -> str:
    digest = hashlib.sha256(json.dumps(checkpoint.deciding(), sort_keys=True).encode())
    for key in sorted(weights):
        value = weights[key].contiguous()
        digest.update(f"\n{key} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
