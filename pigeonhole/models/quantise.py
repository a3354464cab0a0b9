"""Quantises a model: weights and activations in int8, for ONNX Runtime on a CPU. It needs the package `onnx`.

Static quantisation (B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018): the ranges of the activations are measured on images beforehand. Weights have
a scale for each output channel.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import CheckpointError
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.checkpoint import Checkpoint, Content
from pigeonhole.models.export import stripped, with_inline_weights
from pigeonhole.models.graph import INPUT
from pigeonhole.models.record import GRAPH_ONLY

#: Images at once while the ranges are measured.
_AT_ONCE = 64
#: What takes the time of a network; the rest stays in float32.
_OPERATORS = ["Conv", "Gemm", "MatMul"]


def quantise(content: Content, images: NDArray[np.uint8], output: Path, name: str) -> Checkpoint:
    """Write a quantised copy of a model, a file of its own.

    Args:
        content: The model file.
        images: uint8 [N, H, W, C], typical ones that it was trained on; some hundreds are enough.
        output: The file to write.
        name: The copy's name.

    Returns:
        The copy's record. Calibration and threshold are those of the original.

    Raises:
        CheckpointError: The model has no graph, is quantised already, or there are no images.
        TrainingError: The file can't be written.
    """
    about = content.checkpoint
    if not content.graph or about.precision != "f32":
        what = "is quantised already" if content.graph else "has no ONNX graph"
        raise CheckpointError(f"{content.path}: it {what}, and only an ONNX graph in f32 can be quantised.")
    if not len(images):
        raise CheckpointError("No image could be read to measure the ranges of activations on; give other images.")
    graph = _quantised(with_inline_weights(content.graph, content.weights), images)
    origin = {"quantised": about.identity(), "calibration_images": len(images)}
    record = replace(
        about,
        name=name,
        network=GRAPH_ONLY,
        arguments={"precision": "int8"},
        trained={**about.trained, **origin},
        measured={},
    )
    return checkpoints.save_graph(output, graph, record, images)


def _quantised(graph: bytes, images: NDArray[np.uint8]) -> bytes:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]  # it has no types
        """Hands the images over in parts."""

        def __init__(self) -> None:
            self._parts = (images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            """Return the next input; None after the last."""
            part = next(self._parts, None)
            return None if part is None else {INPUT: part}

    with TemporaryDirectory(prefix="pigeonhole-") as folder:
        whole, prepared, quantised = (Path(folder) / f"{step}.onnx" for step in ("whole", "prepared", "quantised"))
        whole.write_bytes(graph)
        quant_pre_process(whole, prepared)
        quantize_static(
            prepared,
            quantised,
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return bytes(stripped(onnx.load(quantised)).SerializeToString(deterministic=True))
