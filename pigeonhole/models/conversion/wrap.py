"""Add nodes before and after a graph of unknown origin, so that it takes bytes and returns logits, as our graphs do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from pigeonhole.errors import CheckpointError
from pigeonhole.models.conversion.foreign import graphs, image_input, shown
from pigeonhole.models.conversion.layout import Layout, Placement
from pigeonhole.models.graph import INPUT, OUTPUT

_OWN = "pigeonhole"  # prefix of the name of each value that is added here
_LEAST = 1e-30  # smaller probabilities are raised to this, because the logarithm of 0 is infinite
_MOST = 1 - 2**-23  # larger sigmoids are lowered to this, because the inverse of 1 is infinite
#: The types that an input of images may have.
_TYPES = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8}


class Meaning(StrEnum):
    """The meaning of the values that a graph returns."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    SIGMOIDS = "probabilities of labels that do not exclude each other"


@dataclass(frozen=True)
class Normalisation:
    """The normalisation of pixels before the graph: (pixel / 255 − mean) / std.

    Args:
        mean: The mean of each channel, or one for all, as a share of 255.
        std: The standard deviation of each channel, or one for all, as a share of 255.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3) or not all(each > 0 for each in self.std):
            raise CheckpointError(
                f"mean {list(self.mean)} and std {list(self.std)} must both have 1 number, or 3; std above 0."
            )

    def factors(self, placement: Placement) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scale and shift, so that scale · pixel + shift is the normalised pixel: float32, one per channel."""
        if len(self.mean) > placement.channels:
            raise CheckpointError(
                f"mean and std have {len(self.mean)} channels, but the graph takes {placement.channels}."
            )
        mean, std = (np.broadcast_to(np.array(each, np.float64), placement.channels) for each in (self.mean, self.std))
        shape = (-1, 1, 1) if placement.layout is Layout.NCHW else (-1,)
        return (1 / (255 * std)).astype(np.float32).reshape(shape), (-mean / std).astype(np.float32).reshape(shape)


def with_pixels(model: ModelProto, placement: Placement, normalisation: Normalisation) -> ModelProto:
    """Return a model that takes `pixels`, uint8 [N, H, W, C], in place of its own input.

    Args:
        model: The file's model, as `foreign.parse` returns it.
        placement: The form of its input.
        normalisation: The normalisation of pixels; an input of type uint8 takes pixels without it.
    """
    wrapped = _renamed(model, lambda name: name in (INPUT, OUTPUT) or name.startswith(f"{_OWN}/"))
    graph, value = wrapped.graph, image_input(wrapped)
    kind = value.type.tensor_type.elem_type
    if kind not in _TYPES:
        name = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else str(kind)
        raise CheckpointError(f"Its input {shown(value.name)!r} is of type {name}, but images are floats or bytes.")
    # Transposed as bytes, because floats take four times the memory.
    steps = [_Step("Transpose", perm=[0, 3, 1, 2])] if placement.layout is Layout.NCHW else []
    if kind != TensorProto.UINT8:
        scale, shift = normalisation.factors(placement)
        steps += [
            _Step("Cast", to=TensorProto.FLOAT),
            _Step("Mul", _weight(graph, "scale", scale)),
            _Step("Add", _weight(graph, "shift", shift)),
        ]
    if kind in (TensorProto.FLOAT16, TensorProto.DOUBLE):
        steps.append(_Step("Cast", to=kind))
    _set_nodes(graph, [*_chain(steps, INPUT, value.name), *graph.node])
    del graph.input[:]
    graph.input.append(_value(INPUT, TensorProto.UINT8, placement.batch, *placement.shape))
    for output in graph.output:  # the shape in the file may be that of one image
        output.type.tensor_type.ClearField("shape")
    return wrapped


def with_logits(
    model: ModelProto, output: str, meaning: Meaning, shape: Sequence[int], batch: int | None
) -> ModelProto:
    """Return a model with one output, `logits`: float32 [N, L].

    Args:
        model: A model as `with_pixels` returns it.
        output: The name of the output to use.
        meaning: The meaning of this output. Probabilities are converted by the logarithm, sigmoids by their inverse.
        shape: The shape of this output for one image: 1, L, and perhaps more dimensions of length 1, which are dropped.
        batch: The number of images at once; None: any number.
    """
    wrapped = ModelProto()
    wrapped.CopyFrom(model)
    graph = wrapped.graph
    steps = [_Step("Flatten", axis=1)] if len(shape) > 2 else []
    steps.append(_Step("Cast", to=TensorProto.FLOAT))
    if meaning is Meaning.PROBABILITIES:
        steps += [_Step("Max", _weight(graph, "least", np.array([_LEAST], np.float32))), _Step("Log")]
    elif meaning is Meaning.SIGMOIDS:
        # The logit of p is −log(1 / p − 1).
        steps += [
            _Step("Max", _weight(graph, "least", np.array([_LEAST], np.float32))),
            _Step("Min", _weight(graph, "most", np.array([_MOST], np.float32))),
            _Step("Reciprocal"),
            _Step("Sub", _weight(graph, "one", np.array([1], np.float32))),
            _Step("Log"),
            _Step("Neg"),
        ]
    _set_nodes(graph, [*graph.node, *_chain(steps, output, OUTPUT)])
    del graph.output[:]
    graph.output.append(_value(OUTPUT, TensorProto.FLOAT, batch, shape[1]))
    return wrapped


def with_free_batch(model: ModelProto) -> ModelProto:
    """Return a model in which no Reshape to a constant shape fixes the batch at one image.

    If a model was exported with a batch of 1, "one row per image" became the constant shape `[1, 1280]`. The caller
    compares results to check that this was the meaning.
    """
    freed = ModelProto()
    freed.CopyFrom(model)
    graph = freed.graph
    constants = {each.name: each for each in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.name == "value"
    }
    for number, node in enumerate(graph.node):
        if node.op_type != "Reshape" or len(node.input) != 2 or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]]).tolist()
        if isinstance(shape, list) and len(shape) > 1 and shape[0] == 1:
            # In a shape, 0 means the input's length, and -1 the remaining length, which is allowed only once.
            first = 0 if -1 in shape else -1
            node.input[1] = _weight(graph, f"shape-{number}", np.array([first, *shape[1:]], np.int64))
    return freed


def image_by_image(model: ModelProto, placement: Placement, logits: int) -> ModelProto:
    """Return a model for any batch that runs another model, for a batch of 1, on each image.

    Args:
        model: The other model, as `with_logits` returns it.
        placement: The form of its input.
        logits: The number of logits for an image.
    """
    # Names in the loop's body must differ from names in the graph that contains it.
    inner = _renamed(model, lambda name: name in (INPUT, OUTPUT))
    image, result = f"{_OWN}/image", f"{_OWN}/result"
    one = _weight(inner.graph, "one", np.array([1, *placement.shape], np.int64))
    flat = _weight(inner.graph, "flat", np.array([logits], np.int64))
    body = helper.make_graph(
        [
            helper.make_node("Reshape", [image, one], [inner.graph.input[0].name]),
            *inner.graph.node,
            helper.make_node("Reshape", [inner.graph.output[0].name, flat], [result]),
        ],
        "image",
        [helper.make_tensor_value_info(image, TensorProto.UINT8, placement.shape)],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, [logits])],
    )
    _set_nodes(inner.graph, [helper.make_node("Scan", [INPUT], [OUTPUT], body=body, num_scan_inputs=1)])
    inner.graph.input[0].CopyFrom(_value(INPUT, TensorProto.UINT8, None, *placement.shape))
    inner.graph.output[0].CopyFrom(_value(OUTPUT, TensorProto.FLOAT, None, logits))
    return inner


class _Step:
    """A node in a chain: its operator, its second input if it has one, and its attributes."""

    def __init__(self, operator: str, other: str = "", **attributes: Any) -> None:  # noqa: ANN401 - numbers, lists and graphs of ONNX
        self.operator, self.other, self.attributes = operator, other, attributes


def _chain(steps: Sequence[_Step], first: str, last: str) -> list[NodeProto]:
    """Return a chain of nodes from the value `first` to the value `last`."""
    nodes, value = [], first
    for number, step in enumerate(steps or [_Step("Identity")], 1):
        following = last if number >= len(steps) else f"{_OWN}/{first}-{number}"
        inputs = [value, step.other] if step.other else [value]
        nodes.append(helper.make_node(step.operator, inputs, [following], **step.attributes))
        value = following
    return nodes


def _weight(graph: GraphProto, name: str, values: NDArray[Any]) -> str:
    """Add a constant to a graph, and return its name."""
    graph.initializer.append(numpy_helper.from_array(values, f"{_OWN}/{name}"))
    return f"{_OWN}/{name}"


def _value(name: str, kind: int, batch: int | None, *sizes: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["N" if batch is None else batch, *sizes])


def _set_nodes(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    copies = list(nodes)
    del graph.node[:]
    graph.node.extend(copies)


def _renamed(model: ModelProto, taken: Callable[[str], bool]) -> ModelProto:
    """Return a copy of a model in which all values are renamed whose names are reserved.

    Args:
        model: The model.
        taken: Returns whether a name is reserved.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    everywhere = list(graphs(copy.graph))
    names = {name for graph in everywhere for node in graph.node for name in (*node.input, *node.output)}
    names |= {each.name for graph in everywhere for each in (*graph.input, *graph.output, *graph.initializer)}
    others: dict[str, str] = {}
    for name in sorted(filter(taken, names)):
        other = f"model/{name}"
        while other in names:
            other += "_"
        names.add(other)
        others[name] = other
    for graph in everywhere if others else ():
        for node in graph.node:
            node.input[:] = [others.get(name, name) for name in node.input]
            node.output[:] = [others.get(name, name) for name in node.output]
        values = [*graph.input, *graph.output, *graph.initializer, *(each.values for each in graph.sparse_initializer)]
        for each in values:
            each.name = others.get(each.name, each.name)
    return copy
