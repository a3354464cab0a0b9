"""Check the external data of the ONNX graph in a model file, before ONNX Runtime loads the graph.

A graph may name other files for its weights ("external data"), so a hostile graph could read any file. Our graphs name
only tensors of the model file, and a graph with other external data is refused. This module parses protobuf itself,
because workers do not have the package `onnx`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pigeonhole.errors import CheckpointError

#: The name of the model file's tensor that contains the graph: uint8 [bytes].
TENSOR = "onnx"
#: The location, in the graph, of a weight that is a tensor of the model file.
LOCATION = "tensor-of-the-model-file"
#: The one input, uint8 [N, height, width, channels], and the one output, float32 [N, logits], of every graph.
INPUT, OUTPUT = "pixels", "logits"

_DEEPEST = 100  # nested messages; protobuf has the same limit
# From onnx.proto: a kind of message → its fields that may contain tensors: number → kind.
_FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_NAME, _EXTERNAL, _IS_EXTERNAL = 8, 13, 14  # numbers of a tensor's fields
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # protobuf's wire types


class _Field(NamedTuple):
    number: int
    value: int
    content: memoryview


def stored_weights(graph: bytes) -> list[str]:
    """Return the names of a graph's weights that are tensors of the model file.

    Raises:
        CheckpointError: The graph names other external data, or is damaged.
    """
    found = list[str]()
    try:
        for path, tensor in _tensors(memoryview(graph), "model", ()):
            _collect(path, tensor, found)
    except (IndexError, UnicodeDecodeError, ValueError) as exc:
        raise CheckpointError(f"Its ONNX graph is damaged ({exc}); copy or make the file again.") from exc
    return found


def _collect(path: tuple[str, ...], tensor: memoryview, found: list[str]) -> None:
    """Add the name of a tensor with external data to `found`; raise CheckpointError if it is not in the model file."""
    name, external = "", False
    entries = list[tuple[str, str]]()  # a list, because a key may be there twice, and readers differ in which they use
    for field in _fields(tensor):
        if field.number == _NAME:
            name = bytes(field.content).decode()
        elif field.number == _EXTERNAL:
            key, value = (
                "".join(bytes(part.content).decode() for part in _fields(field.content) if part.number == number)
                for number in (1, 2)
            )
            entries.append((key, value))
        elif field.number == _IS_EXTERNAL:
            external = field.value != 0
    if not external and not entries:
        return
    if entries != [("location", LOCATION)] or path != ("model", "graph"):
        where = dict(entries).get("location", "")[:200]
        raise CheckpointError(
            f"Its ONNX graph takes the data of {name[:200]!r} from the file {where!r}, which is refused: "
            "a model file must contain all of its weights."
        )
    found.append(name)


def _tensors(message: memoryview, kind: str, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], memoryview]]:
    """Yield every tensor in a message, with the kinds of the messages that contain it."""
    if kind == "tensor":
        yield path, message
        return
    if len(path) > _DEEPEST:
        raise ValueError(f"messages nested more than {_DEEPEST} deep")
    parts = _FIELDS[kind]
    for field in _fields(message):
        if field.number in parts:
            yield from _tensors(field.content, parts[field.number], (*path, kind))


def _fields(message: memoryview) -> Iterator[_Field]:
    """Yield the fields of a protobuf message (https://protobuf.dev/programming-guides/encoding)."""
    at, nothing = 0, memoryview(b"")
    while at < len(message):
        key, at = _varint(message, at)
        value, kind = 0, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield _Field(key >> 3, value, nothing)
            continue
        if kind == _BYTES:
            value, at = _varint(message, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            value = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if at + value > len(message):
            raise ValueError("a field is longer than its message")
        yield _Field(key >> 3, 0, message[at : at + value])
        at += value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the variable-length number at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
