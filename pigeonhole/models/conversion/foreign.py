"""Read an ONNX file of unknown origin, and refuse content that a model file must not have.

Nothing in the file is run here. The result is standard ONNX with all of its weights inside.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from pigeonhole.errors import CheckpointError

#: The operator domains that every ONNX Runtime has: ONNX's own, and the one for classical machine learning.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
#: The first version of ONNX's operators in which all operators that `wrap` adds take inputs of any shape.
OLDEST_OPSET = 8
#: Versions of the file format: ONNX Runtime 1.18 and newer read up to 10; before 4, weights were also inputs.
NEWEST_IR, OLDEST_IR = 10, 4

_LARGEST = 2**31 - 1  # bytes; the limit of protobuf
_SHOWN = 200  # characters of a message or name that are shown; in a damaged file it may have any length


def read(path: Path) -> ModelProto:
    """Read an ONNX file; see `parse`.

    Raises:
        CheckpointError: The file can't be read, is damaged, or is refused.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise CheckpointError(f"{path}: it has {size:,} bytes, but an ONNX file has at most {_LARGEST:,}.")
        return parse(path.read_bytes())
    except OSError as exc:
        raise CheckpointError(f"{path}: can't be read ({exc.strerror or exc}); check the path.") from exc
    except CheckpointError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc


def parse(content: bytes) -> ModelProto:
    """Parse an ONNX file, check it, and drop parts that no computation needs: documentation, metadata, training.

    Raises:
        CheckpointError: The file is damaged, or uses other files, custom operators or functions.
    """
    try:
        model: ModelProto = ModelProto.FromString(content)
    except (DecodeError, UnicodeDecodeError) as exc:
        raise CheckpointError(f"It is not an ONNX file ({shown(exc)}).") from exc
    if not model.graph.node:
        raise CheckpointError("It is not an ONNX file, or its graph is empty.")
    try:
        _refuse(model)
        onnx.checker.check_model(model.SerializeToString())
    except (onnx.checker.ValidationError, UnicodeDecodeError, ValueError, RuntimeError, TypeError) as exc:
        raise CheckpointError(f"Its ONNX graph is damaged: {shown(exc)}") from exc
    _strip(model)
    return model


def image_input(model: ModelProto) -> ValueInfoProto:
    """Return the one input of a parsed graph.

    Raises:
        CheckpointError: The input does not have four dimensions.
    """
    found: ValueInfoProto = model.graph.input[0]
    kind = found.type.tensor_type
    if not found.type.HasField("tensor_type") or (kind.HasField("shape") and len(kind.shape.dim) != 4):
        raise CheckpointError(f"Its input {shown(found.name)!r} is not a batch of images, which has four dimensions.")
    return found


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph, and the graphs inside its nodes: branches and loop bodies."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from graphs(inner)


def shown(value: object) -> str:
    """Return a message or name, cut to one short line."""
    text = str(value) or type(value).__name__
    line = " ".join(text.split("\n\n")[0].split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _refuse(model: ModelProto) -> None:
    """Raise CheckpointError for functions, external data, and operators that are not standard ONNX."""
    if model.functions:
        raise CheckpointError(
            f"It defines functions of its own ({shown(model.functions[0].name)!r}); "
            "write them out first, with onnx.inliner.inline_local_functions."
        )
    for graph in graphs(model.graph):
        for tensor in _tensors(graph):
            if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
                where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
                raise CheckpointError(
                    f"Its weights {shown(tensor.name)!r} are in another file, {shown(where)!r}, which is not opened; "
                    "put them into the file: onnx.save(onnx.load(FILE), OTHER)."
                )
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise CheckpointError(
                    f"Its operator {shown(node.op_type)!r} is of {shown(node.domain)!r}, which is not standard ONNX; "
                    "export the model with standard operators only."
                )
    own = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if len(own) != 1 or own[0] < OLDEST_OPSET:
        raise CheckpointError(
            f"It uses version {own or 'none'} of ONNX's operators, but {OLDEST_OPSET} is the oldest that can be "
            "imported; convert it with onnx.version_converter.convert_version."
        )
    _refuse_inputs(model.graph)


def _inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """Return the inputs of a graph without the weights, which files from before 2019 list as inputs, too."""
    weights = {each.name for each in graph.initializer} | {each.values.name for each in graph.sparse_initializer}
    return [each for each in graph.input if each.name not in weights]


def _refuse_inputs(graph: GraphProto) -> None:
    inputs = _inputs(graph)
    if len(inputs) != 1:
        names = ", ".join(shown(each.name) for each in inputs) or "none"
        raise CheckpointError(f"It has {len(inputs)} inputs ({names}), but an image classifier has one.")
    if not graph.output:
        raise CheckpointError("It has no output.")


def _strip(model: ModelProto) -> None:
    """Drop parts that no computation needs, such as an exporter's metadata with paths of the machine it ran on."""
    used = {node.domain or "ai.onnx" for graph in graphs(model.graph) for node in graph.node} | {"ai.onnx"}
    kept = [each for each in model.opset_import if (each.domain or "ai.onnx") in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    for name in ("doc_string", "metadata_props", "training_info", "configuration", "domain", "model_version"):
        _clear(model, name)
    model.ir_version = min(max(model.ir_version, OLDEST_IR), NEWEST_IR)
    for graph in graphs(model.graph):
        # Shapes of inner values may be those of a batch of one; ONNX Runtime infers them again.
        for name in ("doc_string", "metadata_props", "value_info", "quantization_annotation"):
            _clear(graph, name)
        attributes = [each for node in graph.node for each in node.attribute]
        for part in (*graph.input, *graph.output, *_tensors(graph), *graph.node, *attributes):
            for name in ("doc_string", "metadata_props", "device_configurations"):
                _clear(part, name)
    (only,) = _inputs(model.graph)
    del model.graph.input[:]
    model.graph.input.append(only)


def _clear(message: object, name: str) -> None:
    """Clear a field of a message, if this version of onnx has such a field."""
    if name in type(message).DESCRIPTOR.fields_by_name:  # type: ignore[attr-defined] # every protobuf message has it
        message.ClearField(name)  # type: ignore[attr-defined]


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield the tensors of a graph, without those of the graphs inside its nodes."""
    yield from graph.initializer
    sparse = list(graph.sparse_initializer)
    for attribute in (each for node in graph.node for each in node.attribute):
        yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
        sparse += [
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            *attribute.sparse_tensors,
        ]
    for each in sparse:
        yield from (each.values, each.indices)
