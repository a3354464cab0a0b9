"""Save and load model files ("checkpoints"). No other module does this.

A checkpoint is one safetensors file. It contains the weights, the ONNX graph as a tensor of bytes
(`pigeonhole.models.graph`), and the record as JSON (`pigeonhole.models.record`). The record is in one metadata key,
`pigeonhole`, because the library writes several keys in random order. Reading the record needs the standard library
only; reading weights and graph needs numpy; building a network needs torch.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pigeonhole.errors import CheckpointError, TrainingError
from pigeonhole.filesystem import files
from pigeonhole.filesystem.nearby import nearest
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
from pigeonhole.text import similar

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
_MAX_ARGUMENT = 2048  # largest number in a network's arguments, such as channels; two layers of 2,048 take 150 MB


@dataclass(frozen=True)
class Content:
    """A model file that was read and verified.

    Args:
        path: The path of the file.
        checkpoint: The record in the file.
        weights: Name → array, with the names of `Network.state_dict`.
        graph: The ONNX graph, which takes its weights from `weights`; empty if there is none.
    """

    path: Path
    checkpoint: Checkpoint
    weights: "Tensors"
    graph: bytes


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file of a checkpoint: a path, or the name of a shipped one (`digits`).

    The name of a shipped checkpoint wins over a file of that name in the working folder. To use the file, write
    `./digits`.

    Raises:
        CheckpointError: There is no such file, and no shipped checkpoint of that name.
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
        f"The checkpoint {text!r} {what}; give a {SUFFIX} file, or the name of a shipped checkpoint: "
        f"{', '.join(shipped()) or 'none'}.{f' Did you mean {near}?' if near else ''}"
    )


def shipped() -> list[str]:
    """Return the names of the shipped checkpoints."""
    return sorted(file.stem for file in _SHIPPED.glob(f"*{SUFFIX}"))


def _near(text: str) -> str | None:
    """Return a suggestion for a name: the file with its ending, a similar shipped name, or a similar file."""
    if (file := Path(f"{text}{SUFFIX}")).is_file():
        return files.shown(file)
    if name := similar(text, shipped()):
        return name
    near = nearest(Path(text))
    return files.shown(near) if near and near.suffix == SUFFIX else None


def describe(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the record of a checkpoint, and check that the file is complete.

    This reads only the header of the file. `read` also verifies weights, graph and digest.

    Raises:
        CheckpointError: The file is missing, truncated, not a checkpoint of ours, or of an unknown version or network.
    """
    path = Path(path)
    try:
        return _checked(tensor_file.header(path))
    except CheckpointError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc
    except OSError as exc:
        raise CheckpointError(f"{path}: can't be read ({exc.strerror or exc}); check the path.") from exc


def read(path: str | os.PathLike[str]) -> Content:
    """Read a whole checkpoint, and verify it.

    Raises:
        CheckpointError: As for `describe`; or weights contain NaN or infinity, or don't match the digest.
    """
    path = Path(path)
    checkpoint = describe(path)
    found = tensor_file.tensors(path)
    digest = _digest(checkpoint, found)
    if digest != checkpoint.digest:
        raise CheckpointError(
            f"{path}: its content has the digest {digest[:12]}…, but its record says {checkpoint.digest[:12]}…; "
            "the file was changed after it was written: copy or make it again."
        )
    graph = found.pop(graphs.TENSOR, None)
    return Content(path, checkpoint, found, b"" if graph is None else graph.tobytes())


def load(path: str | os.PathLike[str], device: str = "cpu") -> tuple[Checkpoint, "Network"]:
    """Read a checkpoint and build its network in torch.

    Args:
        path: The path of the file.
        device: The device, by torch's name: "cpu", "cuda", "cuda:1".

    Returns:
        The record, and the network in eval mode on that device.

    Raises:
        CheckpointError: As for `read`; or the weights don't fit the network, or the file has a graph only.
    """
    content = read(path)
    return content.checkpoint, network_of(content, device)


def network_of(content: Content, device: str = "cpu") -> "Network":
    """Build the network of a model file; see `load`."""
    import torch

    checkpoint, path = content.checkpoint, content.path
    if TORCH not in checkpoint.runtimes:
        raise CheckpointError(
            f"{path}: it has only a graph for ONNX Runtime, which torch can't run; use the runtime {ONNX_RUNTIME}."
        )
    # Copied, because numpy's view of the file may be read-only.
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
        # torch raises AssertionError for "Torch not compiled with CUDA enabled".
        available = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise CheckpointError(f"The device {device!r} can't be used ({exc}); this machine has: {available}.") from exc


def save(
    path: str | os.PathLike[str],
    network: "Network",
    checkpoint: Checkpoint,
    images: "NDArray[np.uint8] | None" = None,
) -> Checkpoint:
    """Write a checkpoint atomically; the same content always becomes the same bytes.

    The network is exported to ONNX. The graph is stored if both runtimes return the same results. If they do not, or if
    the export fails, only torch can run the file, and `trained["onnx"]` has the reason.

    Args:
        path: The path of the file, which is replaced if it exists.
        network: The trained network, on any device; it is saved folded (`Network.fold`).
        checkpoint: The record; its cost, runtimes and digest are computed here.
        images: uint8 [N, H, W, C], images to compare both runtimes on, at most 256 of them; None: random images.

    Returns:
        The record, as `describe` will read it.

    Raises:
        CheckpointError: The weights don't fit the record, so the file could not be loaded.
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
    """Write a checkpoint of a model that has only an ONNX graph.

    Args:
        path: The path of the file, which is replaced if it exists.
        graph: An ONNX model with all its weights inside: `pigeonhole.models.graph.INPUT`, uint8
            [N, height, width, channels] → `OUTPUT`, float32 [N, logits].
        checkpoint: The record, with the network `GRAPH_ONLY`; its runtimes and digest are computed here.
        images: uint8 [N, H, W, C], images to test the graph with, at most 256 of them; None: random images.

    Returns:
        The record, as `describe` will read it.

    Raises:
        CheckpointError: ONNX Runtime can't compute the graph, at least for some number of images.
        TrainingError: The file can't be written.
    """
    from pigeonhole.models import export

    if checkpoint.network != GRAPH_ONLY:
        raise CheckpointError(f"A model with only a graph has the network {GRAPH_ONLY!r}, not {checkpoint.network!r}.")
    record = replace(checkpoint, runtimes=(ONNX_RUNTIME,))
    export.check(graph, record, images)
    return _write(Path(path), record, {}, graph)


def _write(path: Path, checkpoint: Checkpoint, weights: "Tensors", graph: bytes) -> Checkpoint:
    import numpy as np
    from safetensors.numpy import save as serialise

    tensors = dict(weights)
    if graph:
        tensors[graphs.TENSOR] = np.frombuffer(graph, np.uint8)
    # Parsed again, so that the returned record is exactly the one that will be read: lists for tuples, and so on.
    text = replace(checkpoint, digest=_digest(checkpoint, tensors)).to_json()
    files.write(path, serialise(tensors, metadata={KEY: text}))
    return Checkpoint.from_json(text)


def _checked(header: Mapping[str, Any]) -> Checkpoint:
    metadata = header.get("__metadata__")
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            "It is a safetensors file, but not a pigeonhole checkpoint; make one with `pigeonhole train` or `import`."
        )
    try:
        checkpoint = Checkpoint.from_json(text)
    except RecursionError as exc:
        raise CheckpointError("Its metadata is nested too deeply to be ours; copy or make the file again.") from exc
    known = checkpoint.network in (GRAPH_ONLY, *networks.NETWORKS)
    if not known and checkpoint.arguments.get("library") != "torchvision":
        raise CheckpointError(
            f"It needs the network {checkpoint.network!r}, but this version knows "
            f"{', '.join(networks.NETWORKS)}; use a newer pigeonhole."
        )
    if (ONNX_RUNTIME in checkpoint.runtimes) != (graphs.TENSOR in header):
        raise CheckpointError("Only one of its record and its tensors has an ONNX graph; make the file again.")
    return checkpoint


def _check_arguments(value: object) -> None:
    """Raise CheckpointError if a network's arguments ask for much more memory than the weights in the file."""
    if isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            _check_arguments(part)
    elif isinstance(value, int | float) and not abs(value) <= _MAX_ARGUMENT:
        raise CheckpointError(f"A network's argument must be a number up to {_MAX_ARGUMENT}, not {str(value)[:20]}.")


def _check_weights(weights: Mapping[str, "Tensor"], expected: Mapping[str, "Tensor"]) -> None:
    import torch

    missing, unknown = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if missing or unknown:
        what = f"lack {missing[0]!r}" if missing else f"have an unknown {unknown[0]!r}"
        raise CheckpointError(f"The weights don't fit the network: they {what}.")
    for key, value in weights.items():
        wanted = expected[key]
        if value.shape != wanted.shape or value.dtype != wanted.dtype:
            raise CheckpointError(
                f"The weights don't fit the network: {key!r} is {value.dtype} {list(value.shape)}, "
                f"not {wanted.dtype} {list(wanted.shape)}."
            )
        if not torch.isfinite(value).all():
            raise CheckpointError(f"The weights {key!r} contain NaN or infinity: training diverged; train again.")


def _digest(checkpoint: Checkpoint, tensors: "Tensors") -> str:
    """Return the digest of everything that decides a result: the record's part, the weights and the graph.

    It does not depend on the library that reads the tensors.
    """
    digest = hashlib.sha256(json.dumps(checkpoint.deciding(), sort_keys=True).encode())
    for key in sorted(tensors):
        value = tensors[key]
        # The dtype has torch's spelling, as in version 0.2, so that its files keep their digests.
        digest.update(f"\n{key} torch.{value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
