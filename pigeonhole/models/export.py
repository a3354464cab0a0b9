"""Export a torch network to an ONNX graph that takes its weights from the model file. It needs the package `onnx`."""

import re
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import CheckpointError, TrainingError
from pigeonhole.models.checkpoint import Content
from pigeonhole.models.graph import INPUT, LOCATION, OUTPUT
from pigeonhole.models.record import ONNX_RUNTIME, Checkpoint
from pigeonhole.models.scores import confidences, probabilities, same_labels
from pigeonhole.version import install_hint

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from pigeonhole.models.tensor_file import Tensors

#: Versions of ONNX, pinned so that a graph does not depend on the installed packages. Releases since 2022 read both.
OPSET, IR_VERSION = 17, 8
#: The number of images on which both runtimes are compared.
COMPARED = 256
#: The largest difference of a confidence between the runtimes.
TOLERANCE = 1e-4
#: Batch sizes to test a graph with, because a graph may work for one size and fail for another.
BATCHES = (1, 2, 7)
#: Bytes of images in one run, because the activations of 256 photos would take gigabytes.
_AT_ONCE = 4_000_000
_SEED = 20_260_101  # seed of the random images


def compared(
    network: "nn.Module", weights: "Tensors", about: Checkpoint, images: NDArray[np.uint8] | None
) -> tuple[bytes, str]:
    """Export a network, run it in both runtimes, and compare their results.

    Args:
        network: The network, in eval mode on the CPU, as it is saved.
        weights: The stored weights; the graph refers to those that it has with the same bytes.
        about: The record.
        images: uint8 [N, H, W, C], images to compare on; None: random images.

    Returns:
        The graph and an empty text; or, if there is no usable graph, no bytes and the reason in words.
    """
    import torch

    try:
        graph = with_stored_weights(graph_of(network, about.preprocessing.shape), weights)
        pixels = _sample(about, images)
        # The same content as if read from the file; the runtime does not need the final record.
        theirs = _logits(Content(Path(about.name), about, weights, graph), pixels)
    except TrainingError as exc:
        return b"", str(exc)
    with torch.inference_mode():
        ours = network(torch.from_numpy(pixels)).numpy()
    classes, calibration = len(about.classes), about.calibration
    if calibration.thresholds is None and not same_labels(ours, theirs, calibration, classes).all():
        return b"", "torch and ONNX Runtime give different labels"
    # For a multi-label model, all probabilities are compared: one at its threshold may be rounded to either side.
    scores_of = confidences if calibration.thresholds is None else probabilities
    distance = np.abs(scores_of(ours, calibration, classes) - scores_of(theirs, calibration, classes)).max()
    if not distance <= TOLERANCE:
        return b"", f"torch's confidences and ONNX Runtime's differ by {distance:.2g}, more than {TOLERANCE:g}"
    return graph, ""


def check(graph: bytes, about: Checkpoint, images: NDArray[np.uint8] | None) -> None:
    """Test a graph on images, in batches of several sizes.

    Raises:
        CheckpointError: ONNX Runtime can't run the graph, or does not return one finite number for each logit.
    """
    _logits(Content(Path(about.name), about, {}, graph), _sample(about, images))


def graph_of(network: "nn.Module", shape: tuple[int, int, int]) -> bytes:
    """Export a network to ONNX.

    Args:
        network: The network, in eval mode on the CPU: uint8 [N, H, W, C] → float32 [N, L].
        shape: Height, width and channels of its images.

    Returns:
        An ONNX model with all its weights, and without texts about its origin.

    Raises:
        TrainingError: `onnx` is not installed, or the network can't be exported.
    """
    import torch

    try:
        import onnx
    except ImportError as exc:
        raise TrainingError(f"The package onnx is not installed: run {install_hint('onnx')}.") from exc
    try:
        with TemporaryDirectory(prefix="pigeonhole-") as folder, warnings.catch_warnings(), torch.inference_mode():
            file = Path(folder) / "graph.onnx"
            # This exporter is deprecated. The new one takes 50 times as long, and needs another package.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (torch.zeros((2, *shape), dtype=torch.uint8),),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}},
            )
            model = onnx.load(file)
    except Exception as exc:  # tracing runs the network's code, which may raise anything
        reason = (str(exc) or type(exc).__name__).strip().splitlines()[0]
        raise TrainingError(f"The network can't be exported to ONNX ({reason}).") from exc
    model.ir_version = IR_VERSION
    return bytes(stripped(model).SerializeToString(deterministic=True))


def stripped(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Remove, in place, the parts of a model that no result depends on: texts, file names, and its producer."""
    for field in ("doc_string", "producer_name", "producer_version", "domain", "metadata_props"):
        model.ClearField(field)
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        for field in {"doc_string", "metadata_props"} & set(part.DESCRIPTOR.fields_by_name):
            part.ClearField(field)
    del model.graph.value_info[:]
    return model


def with_stored_weights(graph: bytes, weights: "Tensors") -> bytes:
    """Replace weights in a graph by references to the same weights in the model file.

    Args:
        graph: An ONNX model.
        weights: The weights in the model file, by name.

    Returns:
        The graph. The initializers that it takes from the model file have the names of the weights there.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    stored = {_content(value): name for name, value in sorted(weights.items())}
    # The exporter stores equal weights once, and creates copies of it under the names of the others.
    taken = {tensor.name for tensor in model.graph.initializer} | {
        output for node in model.graph.node for output in node.output
    }
    names = dict[str, str]()
    for tensor in model.graph.initializer:
        content, own = _content(numpy_helper.to_array(tensor)), weights.get(tensor.name)
        name = tensor.name if own is not None and _content(own) == content else stored.get(content)
        if name is None or name in names.values() or name in taken - {tensor.name}:
            continue  # it stays in the graph: computed from weights, a constant, or a copy
        names[tensor.name] = name
        tensor.ClearField("raw_data")
        tensor.name, tensor.data_location = name, onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=LOCATION)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return bytes(model.SerializeToString(deterministic=True))


def _content(value: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    return value.dtype.str, value.shape, value.tobytes()


def with_inline_weights(graph: bytes, weights: "Tensors") -> bytes:
    """Undo `with_stored_weights`: return an ONNX model that contains all its weights."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return bytes(model.SerializeToString(deterministic=True))


def _sample(about: Checkpoint, images: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    if images is not None and len(images):
        return np.array(images[:COMPARED])  # a copy, because torch needs writable memory
    return np.random.default_rng(_SEED).integers(0, 256, (COMPARED, *about.preprocessing.shape), np.uint8)


def _logits(content: Content, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a graph on images, and test it with batches of different sizes: float32 [N, L]."""
    from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime

    about = content.checkpoint
    runtime = OnnxRuntime(content)
    try:
        whole = np.concatenate([runtime.logits(part) for part in np.array_split(pixels, -(-pixels.nbytes // _AT_ONCE))])
        for size in BATCHES:
            part = runtime.logits(pixels[:size])
            if part.shape != (min(size, len(pixels)), about.logits) or not np.isfinite(part).all():
                raise CheckpointError(
                    f"The ONNX graph returns {list(part.shape)} for {size} images, not finite numbers "
                    f"{[min(size, len(pixels)), about.logits]}."
                )
    except CheckpointError:
        raise
    except Exception as exc:
        reason = re.sub(r"\s+", " ", str(exc))[:200]
        raise CheckpointError(f"{ONNX_RUNTIME} can't run the graph ({reason}).") from exc
    return whole
