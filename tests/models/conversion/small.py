"""Small ONNX models as other programs write them, built node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

SIDE, CLASSES = 12, 5


def weights(channels: int = 3) -> dict[str, NDArray[Any]]:
    drawn = np.random.default_rng(3)
    return {
        "conv.weight": drawn.normal(0, 0.5, (4, channels, 3, 3)).astype(np.float32),
        "conv.bias": drawn.normal(0, 0.5, 4).astype(np.float32),
        "fc.weight": drawn.normal(0, 3, (4, CLASSES)).astype(np.float32),
        "fc.bias": drawn.normal(0, 0.5, CLASSES).astype(np.float32),
    }


def classifier(
    dims: Sequence[int | str | None] = ("N", 3, SIDE, SIDE),
    layout: str = "NCHW",
    last: str = "",
    flatten: str = "Flatten",
    names: tuple[str, str] = ("input", "output"),
    opset: int = 17,
    ir: int = 8,
    kind: int = TensorProto.FLOAT,
    channels: int = 3,
) -> ModelProto:
    """Build a model of a convolution, ReLU, global average pooling and a linear layer.

    Args:
        dims: The dimensions of the input.
        layout: The layout of the input, "NCHW" or "NHWC".
        last: An operator after the last layer, such as "Softmax".
        flatten: "Flatten"; "Reshape" to one image; or "" for an output of 1 x classes x 1 x 1.
        names: The names of input and output.
        opset: The version of ONNX's operators.
        ir: The version of the file format.
        kind: The type of the input's elements.
        channels: The channels of the convolution's input.
    """
    arrays = weights(channels)
    if kind == TensorProto.FLOAT16:
        arrays = {key: value.astype(np.float16) for key, value in arrays.items()}
    nodes: list[NodeProto] = []
    value = names[0]

    def add(operator: str, *others: str, **attributes: Any) -> None:
        nonlocal value
        following = f"{operator.lower()}-{len(nodes)}"
        nodes.append(helper.make_node(operator, [value, *others], [following], name=following, **attributes))
        value = following

    if kind == TensorProto.UINT8:
        add("Cast", to=TensorProto.FLOAT)
    if layout == "NHWC":
        add("Transpose", perm=[0, 3, 1, 2])
    add("Conv", "conv.weight", "conv.bias", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    add("Relu")
    add("GlobalAveragePool")
    if flatten == "Reshape":
        arrays["shape"] = np.array([1, 4], np.int64)
        add("Reshape", "shape")
    elif flatten:
        add("Flatten", axis=1)
    if flatten:
        add("Gemm", "fc.weight", "fc.bias")
    else:
        arrays["fc.weight"] = np.ascontiguousarray(arrays["fc.weight"].T).reshape(CLASSES, 4, 1, 1)
        add("Conv", "fc.weight", "fc.bias", kernel_shape=[1, 1])
    if last:
        add(last, **({"axis": 1} if "oftmax" in last else {}))
    nodes[-1].output[0] = names[1]
    shape = [dims[0], CLASSES, *([] if flatten else [1, 1])]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(names[0], kind, dims)],
        [helper.make_tensor_value_info(names[1], kind if kind != TensorProto.UINT8 else TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, key) for key, array in arrays.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, producer_name="small"
    )


def expected(pixels: NDArray[np.uint8], mean: float = 0.0, std: float = 1.0, scale: float = 255.0) -> NDArray[Any]:
    """Compute the logits of `classifier` with numpy: uint8 [N, H, W, C] → float64 [N, CLASSES]."""
    arrays = {key: value.astype(np.float64) for key, value in weights(pixels.shape[3]).items()}
    images = (pixels / scale - mean) / std
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # [N, H, W, C, 3, 3]
    maps = np.einsum("nhwcij,ocij->nhwo", windows, arrays["conv.weight"]) + arrays["conv.bias"]
    found: NDArray[Any] = np.maximum(maps, 0).mean(axis=(1, 2)) @ arrays["fc.weight"] + arrays["fc.bias"]
    return found
