"""A hostile or damaged ONNX file is refused with a clear message, and nothing that it names is opened or run."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from pigeonhole.errors import CheckpointError
from pigeonhole.models.conversion import foreign, isolated
from pigeonhole.models.conversion.convert import convert
from pigeonhole.models.conversion.wrap import Normalisation
from tests.models.conversion.small import SIDE, classifier

PATH = "/home/somebody/secret"


def external(tensor: TensorProto, location: str = "../../etc/passwd") -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def of_a_weight(model: ModelProto) -> None:
    external(model.graph.initializer[0])


def of_a_constant(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(4, np.float32), "c"))
    external(node.attribute[0].t)
    model.graph.node.insert(0, node)


def of_a_constant_in_a_branch(model: ModelProto) -> None:
    inner = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(4, np.float32), "c"))
    external(inner.attribute[0].t)
    value = helper.make_tensor_value_info("c", TensorProto.FLOAT, [4])
    branch = helper.make_graph([inner], "branch", [], [value])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["d"], then_branch=branch, else_branch=branch))


def with_a_location_alone(model: ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="../../etc/passwd")


def custom(model: ModelProto) -> None:
    model.graph.node[1].domain = "evil.example"
    model.opset_import.append(helper.make_opsetid("evil.example", 1))


def functions(model: ModelProto) -> None:
    made = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], [made], [helper.make_opsetid("", 17)]))


def two_inputs(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 4]))


def no_output(model: ModelProto) -> None:
    del model.graph.output[:]


def old(model: ModelProto) -> None:
    model.opset_import[0].version = 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_a_weight, r"'conv.weight' .*another file, '../../etc/passwd'"),
        (of_a_constant, "are in another file"),
        (of_a_constant_in_a_branch, "are in another file"),
        (with_a_location_alone, "are in another file"),
        (custom, "'Relu' .*'evil.example'"),
        (functions, r"'Twice'.* onnx.inliner"),
        (two_inputs, r"2 inputs \(input, mask\)"),
        (no_output, "no output"),
        (old, r"version \[6\] .* 8 .*convert_version"),
    ],
)
def test_external_files_and_foreign_operators_are_refused(change: Callable[[ModelProto], None], message: str) -> None:
    model = classifier()
    change(model)
    with pytest.raises(CheckpointError, match=message):
        foreign.parse(model.SerializeToString())


def test_documentation_metadata_and_paths_are_removed() -> None:
    model = classifier()
    model.doc_string = model.graph.doc_string = model.graph.initializer[0].doc_string = PATH
    model.graph.input[0].doc_string = model.graph.node[0].doc_string = PATH
    model.graph.node[0].attribute[0].doc_string = PATH
    model.metadata_props.add(key="source", value=PATH)
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value=PATH)
    model.graph.initializer[1].metadata_props.add(key="source", value=PATH)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.ir_version = 12
    found = ModelProto.FromString(convert(foreign.parse(model.SerializeToString()), Normalisation()).graph)
    assert PATH.encode() not in found.SerializeToString()
    assert [(each.domain, each.version) for each in found.opset_import] == [("", 17)]
    assert found.ir_version == 10


def test_an_invalid_onnx_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"text", b"PK\x03\x04", bytes(1000)):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"x.onnx: It is not an ONNX file"):
            foreign.read(tmp_path / "x.onnx")
    with pytest.raises(CheckpointError, match=r"none.onnx: can't be read"):
        foreign.read(tmp_path / "none.onnx")


def test_a_damaged_onnx_file_is_refused_or_runs() -> None:
    whole, drawn = classifier(last="Softmax").SerializeToString(), random.Random(19)
    messages, graphs = list[str](), list[bytes]()
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(drawn.choice((1, 1, 1, 2, 8, 40))):
            content[drawn.randrange(len(content))] = drawn.randrange(256)
        if drawn.random() < 0.15:
            content = content[: drawn.randrange(len(content))]
        try:
            found = convert(foreign.parse(bytes(content)), Normalisation())
        except CheckpointError as exc:
            messages.append(str(exc))
        else:
            graphs.append(found.graph)
    assert all("\n" not in message and 10 < len(message) < 600 for message in messages)
    assert len(messages) > 20
    assert len(graphs) > 20


def endless(model: ModelProto) -> None:
    """Insert a loop of 2**62 steps before the other nodes."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["again"]),
            helper.make_node("Tanh", ["value"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "steps"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.insert(0, helper.make_node("Loop", ["steps", "yes", "input"], ["looped"], body=body))
    model.graph.node[1].input[0] = "looped"


def enormous(model: ModelProto) -> None:
    """Insert a node that pads images to 2**40 pixels a side."""
    (pads,) = (each for each in model.graph.node[0].attribute if each.name == "pads")
    pads.CopyFrom(AttributeProto(name="pads", type=AttributeProto.INTS, ints=[1, 1, 2**20, 2**20]))


@pytest.mark.parametrize(
    ("change", "timeout", "message"),
    [(endless, 8.0, "takes more than 8 s"), (enormous, 60.0, "x.onnx: .*")],
)
def test_a_conversion_is_ended_at_its_time_and_memory_limits(
    change: Callable[[ModelProto], None], timeout: float, message: str, tmp_path: Path
) -> None:
    model = classifier()
    change(model)
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=message):
        isolated.convert_file(tmp_path / "x.onnx", Normalisation(), timeout=timeout)


def test_the_separate_process_converts_like_this_one(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(classifier((1, 3, SIDE, SIDE), last="Softmax").SerializeToString())
    normalisation = Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert isolated.convert_file(path, normalisation) == convert(foreign.read(path), normalisation)
