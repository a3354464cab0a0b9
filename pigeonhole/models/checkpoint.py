"""Checkpoints: the only module that saves or loads model files.

A checkpoint is one safetensors file: the weights, the ONNX graph that computes with them as a tensor of bytes
(`pigeonhole.models.graph`), and one metadata key, `pigeonhole`, whose JSON is the record (`pigeonhole.models.record`).
It is one key because the library writes several in random order. Reading the record needs the standard library only,
reading weights and graph numpy; torch is imported to build a network.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pigeonhole import files
from pigeonhole.errors import CheckpointError, TrainingError
from pigeonhole.models import graph as graphs
from pigeonhole.models import tensor_file
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.record import (
    GRAPH_ONLY,
    ONNX_RUNTIME,
    TORCH,
    Calibration,
    Checkpoint,
    Cost,
    check_name,
)
from pigeonhole.nearby import nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from pigeonhole.models.networks.network import Network
    from pigeonhole.models.tensor_file import Tensors

__all__ = [
    "Calibration",
    "Checkpoint",
    "Content",
    "Cost",
    "check_name",
    "describe",
    "find",
    "load",
    "network_of",
    "read",
    "save",
    "save_graph",
]

KEY = "pigeonhole"
SUFFIX = ".safetensors"

_SHIPPED = Path(__file__).resolve().parent / "shipped"
_MAX_ARGUMENT = 2048  # of a network: channels, layers; two layers of that many channels take 150 MB


@dataclass(frozen=True)
class Content:
    """A model file that was read and verified.

    Args:
        path: The file.
        checkpoint: Its record.
        weights: Name → array, as `Network.state_dict` names them.
        graph: The ONNX graph, which takes its weights from `weights`; empty if there is none.
    """

    path: Path
    checkpoint: Checkpoint
    weights: "Tensors"
    graph: bytes


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file of a checkpoint: a path, or the name of a shipped one (`digits`).

    A shipped name wins over a file of that name in the working folder; write `./digits` for the file.

    Raises:
        CheckpointError: It is neither.
    """
    text = os.fspath(name_or_path)
    file = _SHIPPED / f"{text}{SUFFIX}"
    if os.sep not in text and file.is_file():
        return file
    path = Path(text)
    if path.is_file():
        return path
    what = "is a folder" if path.is_dir() else "doesn't exist"
    near = _near(text)
    raise CheckpointError(
        f"The checkpoint {text!r} {what}; give a {SUFFIX} file, or the name of a shipped one: "
        f"{', '.join(shipped()) or 'none'}.{f' Did you mean {near}?' if near else ''}"
    )


def shipped() -> list[str]:
    """Return the names of the shipped checkpoints."""
    return sorted(file.stem for file in _SHIPPED.glob(f"*{SUFFIX}"))


def _near(text: str) -> str | None:
    """Return what may be meant: the file with its ending, a similar shipped name, a similar file."""
    if (file := Path(f"{text}{SUFFIX}")).is_file():
        return files.shown(file)
    if names := difflib.get_close_matches(text, shipped(), n=1):
        return names[0]
    near = nearest(Path(text))
    return files.shown(near) if near and near.suffix == SUFFIX else None


def describe(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the record of a checkpoint, and check that the file is whole.

    It reads the header only, however large the weights are. `read` verifies weights, graph and digest.

    Raises:
        CheckpointError: It is missing, truncated, no checkpoint of ours, or of an unknown version or network.
    """
    path = Path(path)
    try:
        return _checked(tensor_file.header(path))
    except CheckpointError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc
    except OSError as exc:
        raise CheckpointError(f"{path}: can't be read ({exc.strerror or exc}); check the path.") from exc


def read(path: str | os.PathLike[str]) -> Content:
    """Read a checkpoint whole, and verify it.

    Raises:
        CheckpointError: As `describe`; or weights hold NaN or infinity, or don't match the digest.
    """
    path = Path(path)
    checkpoint = describe(path)
    found = tensor_file.tensors(path)
    digest = _digest(checkpoint, found)
    if digest != checkpoint.digest:
        raise CheckpointError(
            f"{path}: its content has the digest {digest[:12]}…, and it says {checkpoint.digest[:12]}…; "
            "it was changed after it was written: copy or make it again."
        )
    graph = found.pop(graphs.TENSOR, None)
    return Content(path, checkpoint, found, b"" if graph is None else graph.tobytes())


def load(path: str | os.PathLike[str], device: str = "cpu") -> tuple[Checkpoint, "Network"]:
    """Read a checkpoint and build its network in torch.

    Args:
        path: The file.
        device: torch's name of it: "cpu", "cuda", "cuda:1".

    Returns:
        The record, and the network in eval mode on that device.

    Raises:
        CheckpointError: As `read`; or the weights don't fit the network, or there are none but in the graph.
    """
    content = read(path)
    return content.checkpoint, network_of(content, device)


def network_of(content: Content, device: str = "cpu") -> "Network":
    """Build the network of a model file; see `load`."""
    import torch

    checkpoint, path = content.checkpoint, content.path
    if TORCH not in checkpoint.runtimes:
        raise CheckpointError(
            f"{path}: it is a graph for ONNX Runtime, and torch can't run it; use the runtime {ONNX_RUNTIME}."
        )
    # Copied, since numpy's view of the file may be read-only.
    weights = {key: torch.from_numpy(value.copy()) for key, value in content.weights.items()}
    try:
        _check_arguments(checkpoint.arguments)
        network = networks.build(checkpoint.network, checkpoint.arguments, checkpoint.logits).fold()
        _check_weights(weights, network.state_dict())
    except TrainingError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc
    network.load_state_dict(weights)
    try:
        return network.to(device).eval()
    except (RuntimeError, AssertionError, ValueError) as exc:
        # torch says "Torch not compiled with CUDA enabled" with an AssertionError.
        available = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise CheckpointError(f"The device {device!r} can't be used ({exc}); this machine has: {available}.") from exc


def save(
    path: str | os.PathLike[str],
    network: "Network",
    checkpoint: Checkpoint,
    images: "NDArray[np.uint8] | None" = None,
) -> Checkpoint:
    """Write a checkpoint: whole or not at all, and the same bytes for the same content.

    The network is exported to ONNX, and the graph is kept if both runtimes give the same results. If they do not, or
    the export fails, the file is for torch alone, and `trained["onnx"]` says why.

    Args:
        path: The file; replaced if it exists.
        network: Trained, on any device; it is saved folded (`Network.fold`).
        checkpoint: Its record; cost, runtimes and digest are computed here.
        images: uint8 [N, H, W, C], on which both runtimes are compared, at most 256 of them; None: random ones.

    Returns:
        The record, as `describe` reads it back.

    Raises:
        CheckpointError: The content could not be loaded again.
        TrainingError: The file can't be written.
    """
    from pigeonhole.models import export

    served = network.folded()
    weights = {key: value.contiguous() for key, value in served.state_dict().items()}
    expected = networks.build(checkpoint.network, checkpoint.arguments, checkpoint.logits).fold()
    _check_weights(weights, expected.state_dict())
    tensors: Tensors = {key: value.numpy() for key, value in weights.items()}
    graph, reason = export.compared(served, tensors, checkpoint, images)
    trained = {key: value for key, value in checkpoint.trained.items() if key != "onnx"}
    return _write(
        Path(path),
        replace(
            checkpoint,
            cost=Cost(*served.cost(checkpoint.preprocessing)),
            runtimes=(ONNX_RUNTIME, TORCH) if graph else (TORCH,),
            trained=trained if graph else {**trained, "onnx": reason},
        ),
        tensors,
        graph,
    )


def save_graph(
    path: str | os.PathLike[str], graph: bytes, checkpoint: Checkpoint, images: "NDArray[np.uint8] | None" = None
) -> Checkpoint:
    """Write a checkpoint of a model that is known by its graph only.

    Args:
        path: The file; replaced if it exists.
        graph: An ONNX model whose weights lie in it: `pigeonhole.models.graph.INPUT`, uint8
            [N, height, width, channels] → `OUTPUT`, float32 [N, logits].
        checkpoint: Its record, of the network `GRAPH_ONLY`; runtimes and digest are computed here.
        images: uint8 [N, H, W, C] that the graph must compute, at most 256 of them; None: random ones.

    Returns:
        The record, as `describe` reads it back.

    Raises:
        CheckpointError: ONNX Runtime can't compute the graph, for some number of images at least.
        TrainingError: The file can't be written.
    """
    from pigeonhole.models import export

    if checkpoint.network != GRAPH_ONLY:
        raise CheckpointError(f"A model that is a graph has the network {GRAPH_ONLY!r}, not {checkpoint.network!r}.")
    record = replace(checkpoint, runtimes=(ONNX_RUNTIME,))
    export.check(graph, record, images)
    return _write(Path(path), record, {}, graph)


def _write(path: Path, checkpoint: Checkpoint, weights: "Tensors", graph: bytes) -> Checkpoint:
    import numpy as np
    from safetensors.numpy import save as serialise

    tensors = dict(weights)
    if graph:
        tensors[graphs.TENSOR] = np.frombuffer(graph, np.uint8)
    # Through JSON and back, so that what is returned is what will be read: lists for tuples, and so on.
    text = replace(checkpoint, digest=_digest(checkpoint, tensors)).to_json()
    files.write(path, serialise(tensors, metadata={KEY: text}))
    return Checkpoint.from_json(text)


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
    known = checkpoint.network in (GRAPH_ONLY, *networks.NETWORKS)
    if not known and checkpoint.arguments.get("library") != "torchvision":
        raise CheckpointError(
            f"It needs the network {checkpoint.network!r}, and this version knows "
            f"{', '.join(networks.NETWORKS)}; use a newer pigeonhole."
        )
    if (ONNX_RUNTIME in checkpoint.runtimes) != (graphs.TENSOR in header):
        raise CheckpointError("Its record and its tensors differ in whether there is an ONNX graph; make it again.")
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


def _digest(checkpoint: Checkpoint, tensors: "Tensors") -> str:
    """Return the digest of all that decides a result, the graph included; the same whatever reads the tensors."""
    digest = hashlib.sha256(json.dumps(checkpoint.deciding(), sort_keys=True).encode())
    for key in sorted(tensors):
        value = tensors[key]
        # Spelled as torch spells a dtype, as version 0.2 did: its files keep their digests.
        digest.update(f"\n{key} torch.{value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
