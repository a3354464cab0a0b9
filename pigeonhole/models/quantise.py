"""Quantise a model: weights and activations in int8, for ONNX Runtime on a CPU. It needs the package `onnx`.

This is static quantisation (B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018): the ranges of the activations are measured on images beforehand. Weights have
a scale for each output channel. docs/guide/models.md has the measurements behind the choices in this module.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import CheckpointError
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.checkpoint import Checkpoint, Content
from pigeonhole.models.export import stripped, with_inline_weights
from pigeonhole.models.graph import INPUT
from pigeonhole.models.record import GRAPH_ONLY
from pigeonhole.models.scores import same_labels

if TYPE_CHECKING:
    from onnx import ModelProto

#: Images in one run, while ranges are measured and results compared.
_AT_ONCE = 16
#: Operators to quantise: those that take most of the time, and the activations after them. The rest stays in float32.
_OPERATORS = ["Conv", "Gemm", "MatMul", "Relu", "Clip"]
#: The last layer returns float32, or all logits of an image would be multiples of 1/255 of their range.
_OPTIONS = {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}
#: The first version of ONNX's operators that supports a scale for each channel.
_OPSET = 13


@dataclass(frozen=True)
class Quantised:
    """A quantised copy of a model file.

    Args:
        checkpoint: The copy's record.
        images: The number of images on which the ranges were measured.
        same: The number of these images that have the same labels as with the original.
    """

    checkpoint: Checkpoint
    images: int
    same: int


def quantise(content: Content, images: NDArray[np.uint8], output: Path, name: str) -> Quantised:
    """Write a quantised copy of a model to another file.

    Args:
        content: The model file.
        images: uint8 [N, H, W, C], typical training images; a few hundred are enough.
        output: The file to write.
        name: The copy's name.

    Returns:
        The copy. It has the calibration and thresholds of the original.

    Raises:
        CheckpointError: The model has no graph, is quantised already, or can't be quantised; or there are no images.
        TrainingError: The file can't be written.
    """
    about = content.checkpoint
    check(content)
    if not len(images):
        raise CheckpointError("No image could be read to measure the ranges of activations on; give other images.")
    graph = _quantised(content, images)
    record = replace(
        about,
        name=checkpoints.check_name(name),
        network=GRAPH_ONLY,
        arguments={"precision": "int8"},
        measured={},
    )
    quantised = replace(content, checkpoint=record, weights={}, graph=graph)
    wanted, found = (_logits(each, images) for each in (content, quantised))
    same = int(same_labels(wanted, found, about.calibration, len(about.classes)).sum())
    origin = {"from": about.identity(), "images": len(images), "same_labels": same}
    trained = {**about.trained, "quantised": origin}
    return Quantised(checkpoints.save_graph(output, graph, replace(record, trained=trained), images), len(images), same)


def check(content: Content) -> None:
    """Raise CheckpointError if a model can't be quantised."""
    about = content.checkpoint
    if about.precision != "f32":
        raise CheckpointError(f"{content.path}: it has the precision {about.precision} already; give a model in f32.")
    if not content.graph:
        raise CheckpointError(
            f"{content.path}: it has no ONNX graph ({about.why_no_graph}), and only a graph can be quantised."
        )


def _quantised(content: Content, images: NDArray[np.uint8]) -> bytes:
    """Return the graph in int8."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]  # it has no types
        """Passes the images to the quantiser in parts."""

        def __init__(self) -> None:
            self._parts = _parts(images)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            """Return the next input; None after the last."""
            part = next(self._parts, None)
            return None if part is None else {INPUT: part}

    with TemporaryDirectory(prefix="pigeonhole-") as folder:
        whole, prepared, quantised = (Path(folder) / f"{step}.onnx" for step in ("whole", "prepared", "quantised"))
        try:
            onnx.save(_recent(onnx.load_from_string(with_inline_weights(content.graph, content.weights))), whole)
            # Symbolic shape inference would need another package.
            quant_pre_process(whole, prepared, skip_symbolic_shape=True)
            model = _named(onnx.load(prepared))
            onnx.save(model, prepared)
            quantize_static(
                prepared,
                quantised,
                Images(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_OPERATORS,
                nodes_to_exclude=_kept(model, content.checkpoint.preprocessing.channels),
                per_channel=True,
                # 7-bit weights: a processor without VNNI adds two products in 16 bits, and 8-bit weights overflow that.
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options=_OPTIONS,
            )
            result = _own_domains(stripped(onnx.load(quantised)))
        except Exception as exc:  # the quantiser raises anything for a graph that it does not support
            reason = (str(exc) or type(exc).__name__).strip().splitlines()[0][:200]
            raise CheckpointError(f"{content.path}: ONNX Runtime can't quantise its graph ({reason}).") from exc
    if not any(node.op_type == "QuantizeLinear" for node in result.graph.node):
        raise CheckpointError(f"{content.path}: its graph has no layer that can be quantised; use it in f32.")
    return bytes(result.SerializeToString(deterministic=True))


def _recent(model: "ModelProto") -> "ModelProto":
    """Return a model, converted if its version of ONNX's operators is too old for quantisation."""
    from onnx import version_converter

    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if min(versions, default=_OPSET) >= _OPSET:
        return model
    converted: ModelProto = version_converter.convert_version(model, _OPSET)
    return converted


def _named(model: "ModelProto") -> "ModelProto":
    """Set, in place, a unique name for each node of a graph, so that nodes can be excluded by name."""
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}-{number}"
    return model


def _own_domains(model: "ModelProto") -> "ModelProto":
    """Remove, in place, operator sets that no node uses, because ONNX Runtime adds all sets that it knows."""
    used = {node.domain for node in model.graph.node}
    own = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(own)
    return model


def _kept(model: "ModelProto", channels: int) -> list[str]:
    """Return the names of the convolutions that stay in float32: those of the image itself.

    They have few input channels, and for these int8 takes longer than float32.

    Args:
        model: The graph.
        channels: The channels of the image.
    """
    shapes = {each.name: tuple(each.dims) for each in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and shapes.get(node.input[1], (0, channels + 1))[1]
        * next((each.i for each in node.attribute if each.name == "group"), 1)
        <= channels
    ]


def _parts(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE))


def _logits(content: Content, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime

    runtime = OnnxRuntime(content)
    return np.concatenate([runtime.logits(part) for part in _parts(images)])
