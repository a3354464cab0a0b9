"""The ONNX graph in a model file, as far as it must be understood before ONNX Runtime may have it.

A graph may name files for its weights ("external data"), which a hostile one would use to read what it should not. Ours
names the model file's own tensors, and nothing else is let through. Reading it takes no `onnx`: a worker has none.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pigeonhole.errors import CheckpointError

#: The name of the tensor that holds the graph: uint8 [bytes].
TENSOR = "onnx"
#: Where a weight lies that is a tensor of the model file, as the graph spells it.
LOCATION = "tensor-of-the-model-file"
#: The one input, uint8 [N, height, width, channels], and the one output, float32 [N, logits], of every graph.
INPUT, OUTPUT = "pixels", "logits"

_DEEPEST = 100  # messages in messages; protobuf's own limit
# onnx.proto: the kind of a message → its fields that lead to tensors, by number → their kind.
_FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_NAME, _EXTERNAL, _IS_EXTERNAL = 8, 13, 14  # fields of a tensor
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # protobuf's kinds of fields


class _Field(NamedTuple):
    number: int
    value: int
    content: memoryview


def stored_weights(graph: bytes) -> list[str]:
    """Return the names of the weights that are tensors of the model file.

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
    """Add the name of a tensor whose data lies elsewhere; refuse it if that is not the model file."""
    name, external = "", False
    entries = list[tuple[str, str]]()  # a key may come twice, and readers differ in which they take
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
            f"Its ONNX graph wants the data of {name[:200]!r} from the file {where!r}, which is refused: "
            "a model file holds all of its weights."
        )
    found.append(name)


def _tensors(message: memoryview, kind: str, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], memoryview]]:
    """Yield every tensor in a message, with the kinds of the messages around it."""
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
    """Return the number that begins at a byte, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
