"""Both runtimes return the same results, and the right one is chosen."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file

from pigeonhole.errors import CheckpointError, SettingsError
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.limits import PPM
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.checkpoint import Content
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.graph import LOCATION, stored_weights
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.registry import DIGIT
from pigeonhole.models.record import GRAPH_ONLY, Calibration, Checkpoint
from pigeonhole.models.runtimes.choice import Choice, Machine, choose
from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime
from pigeonhole.settings import Settings
from tests.conftest import ROOT

DIGITS = checkpoints.find("digits")
SAMPLES = ROOT / "samples"


def machine(*gpus: bool, bf16: bool = False, installed: tuple[str, ...] = ("onnxruntime", "torch")) -> Machine:
    return Machine(lambda: gpus, lambda: bf16, lambda runtime: runtime in installed)


def chosen(at: Machine, about: Checkpoint | None = None, **settings: str) -> Choice:
    return choose(about or checkpoints.describe(DIGITS), Settings(**settings), at)  # type: ignore[arg-type]


@pytest.fixture
def graph_only() -> Checkpoint:
    about = checkpoints.describe(DIGITS)
    return replace(about, network=GRAPH_ONLY, arguments={"precision": "f32"}, runtimes=("onnxruntime",))


def test_both_runtimes_give_the_same_rows() -> None:
    names = [
        name for name in sorted(os.listdir(SAMPLES)) if name not in ("empty.png", "text.png", "92ce53-truncated.png")
    ]
    pixels = np.stack([prepare((SAMPLES / name).read_bytes(), DIGIT, 10**6) for name in names])
    onnx_runtime, torch_runtime = (
        Classifier.load(DIGITS, Settings(runtime=name, precision="f32", device="cpu"))
        for name in ("onnxruntime", "torch")
    )
    assert onnx_runtime.identity == torch_runtime.identity
    a, b = onnx_runtime.predict(pixels), torch_runtime.predict(pixels)
    np.testing.assert_array_equal(a.best[:, 0], b.best[:, 0])
    np.testing.assert_allclose(a.ppm, b.ppm, atol=1e-4 * PPM)


def test_the_weights_are_in_the_model_file_once() -> None:
    content = checkpoints.read(DIGITS)
    assert sorted(stored_weights(content.graph)) == sorted(content.weights)
    assert len(content.graph) < 4_000
    assert set(load_file(DIGITS)) == {*content.weights, "onnx"}


def test_a_cpu_uses_onnx_runtime_and_a_gpu_uses_torch_in_half_precision() -> None:
    assert chosen(machine()) == Choice("onnxruntime")
    assert chosen(machine(True, True)) == Choice("torch", "bf16", ("cuda:0", "cuda:1"))
    assert chosen(machine(True, False)) == Choice("torch", "f16", ("cuda:0", "cuda:1"))
    assert chosen(machine(True), precision="f32") == Choice("torch", "f32", ("cuda:0",))
    assert chosen(machine(True), device="cpu") == Choice("onnxruntime")
    assert chosen(machine(True), runtime="onnxruntime") == Choice("onnxruntime")
    assert chosen(machine(True, True), device="cuda:1") == Choice("torch", "bf16", ("cuda:1",))
    assert chosen(machine(True, installed=("onnxruntime",))) == Choice("onnxruntime")


def test_a_model_without_a_graph_needs_torch_and_one_without_weights_needs_onnx_runtime(graph_only: Checkpoint) -> None:
    assert chosen(machine(), replace(checkpoints.describe(DIGITS), runtimes=("torch",))) == Choice("torch")
    assert chosen(machine(True), graph_only) == Choice("onnxruntime")
    quantised = replace(graph_only, arguments={"precision": "int8"})
    assert chosen(machine(), quantised) == Choice("onnxruntime", "int8")
    assert quantised.identity("int8") == f"digits@{quantised.digest[:12]}+int8"


def test_bf16_on_a_cpu_needs_a_processor_that_supports_it() -> None:
    assert chosen(machine(bf16=True), runtime="torch", precision="bf16") == Choice("torch", "bf16")
    assert chosen(machine(bf16=True), runtime="torch") == Choice("torch", "f32")


@pytest.mark.parametrize(
    ("at", "settings", "message"),
    [
        (machine(), {"device": "cuda"}, "'cuda'.* use 'auto' or 'cpu'"),
        (machine(True), {"device": "cuda:1"}, "only cuda:0"),
        (machine(installed=("onnxruntime",)), {"device": "cuda"}, r"torch: pip install .*\[torch\]'"),
        (machine(True), {"device": "cuda", "runtime": "onnxruntime"}, "can't run on cuda:0"),
        (machine(), {"runtime": "torch", "precision": "bf16"}, "use 'f32'"),
        (machine(), {"precision": "bf16"}, "use 'auto', or PIGEONHOLE_RUNTIME=torch"),
        (machine(installed=()), {}, r"onnxruntime.*: pip install .*\[worker\]'"),
    ],
)
def test_an_impossible_choice_is_refused_with_the_remedy(at: Machine, settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        choose(checkpoints.describe(DIGITS), Settings(**settings), at)  # type: ignore[arg-type]


def test_a_graph_only_model_is_refused_on_a_gpu(graph_only: Checkpoint) -> None:
    with pytest.raises(SettingsError, match="PIGEONHOLE_RUNTIME=onnxruntime and PIGEONHOLE_DEVICE=cpu"):
        chosen(machine(True), graph_only, device="cuda")


def test_a_choice_is_restored_from_its_environment_variables() -> None:
    choice = Choice("torch", "bf16", ("cuda:0", "cuda:1"))
    settings = Settings.from_environment(choice.environment)
    assert choose(checkpoints.describe(DIGITS), settings, machine(True, True)) == choice


Change = Callable[[onnx.ModelProto], None]


def elsewhere(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data[0].value = "/etc/passwd"


def twice(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.insert(0, onnx.StringStringEntryProto(key="location", value="../secret"))


def in_a_node(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=LOCATION)
    model.graph.node.append(helper.make_node("Constant", [], ["x"], value=tensor))


def at_an_offset(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="offset", value="4096")


@pytest.mark.parametrize("change", [elsewhere, twice, in_a_node, at_an_offset])
def test_a_graph_that_references_other_files_is_refused(change: Change) -> None:
    model = onnx.load_from_string(checkpoints.read(DIGITS).graph)
    change(model)
    with pytest.raises(CheckpointError, match=r"must contain all of its weights"):
        stored_weights(model.SerializeToString())


def renamed(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].name = "missing"


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[3].op_type = "Teleport"


def other_domain(model: onnx.ModelProto) -> None:
    model.graph.node[3].domain = "evil.example"


def other_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 32


def other_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "answers"


def newer(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9_999


@pytest.mark.parametrize("change", [renamed, unknown_operator, other_domain, other_input, other_output, newer])
def test_an_invalid_graph_is_refused(change: Change) -> None:
    content = checkpoints.read(DIGITS)
    model = onnx.load_from_string(content.graph)
    change(model)
    with pytest.raises(CheckpointError, match=r"its graph"):
        OnnxRuntime(replace(content, graph=model.SerializeToString()))


def test_a_damaged_graph_is_refused_or_loads() -> None:
    content, random = checkpoints.read(DIGITS), np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        graph = bytearray(content.graph)
        for at in random.integers(0, len(graph), 3):
            graph[at] = random.integers(256)
        cut = bytes(graph[: random.integers(len(graph) // 2, len(graph) + 1)])
        try:
            OnnxRuntime(replace(content, graph=cut))
        except CheckpointError:
            refused += 1
    assert refused > 250


def growing(path: Path) -> Content:
    """Build a graph that needs 2^40 floats for each image but the first."""
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["pixels"], ["n"], start=0, end=1),
            helper.make_node("Sub", ["n", "one"], ["more"]),
            helper.make_node("Mul", ["more", "large"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["floats"], ["flat"]),
            helper.make_node("Add", ["flat", "sum"], ["logits"]),
        ],
        "growing",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, 2, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (("one", 1), ("large", 2**40))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    about = replace(checkpoints.describe(DIGITS), preprocessing=Preprocessing("stretch", 1, 2, 1))
    return Content(path, about, {}, model.SerializeToString())


def test_onnx_runtime_without_memory_raises_a_memory_error(tmp_path: Path) -> None:
    runtime = OnnxRuntime(growing(tmp_path / "growing.safetensors"))
    assert runtime.logits(np.ones((1, 1, 2, 1), np.uint8)).tolist() == [[1, 1]]
    with pytest.raises(MemoryError):
        runtime.logits(np.ones((2, 1, 2, 1), np.uint8))


def test_a_network_with_equal_weights_has_a_graph(tmp_path: Path) -> None:
    torch.manual_seed(1)
    preprocessing = Preprocessing("stretch", 32, 32, 3)
    arguments = networks.complete("residual-small", {}, preprocessing)
    network = networks.build("residual-small", arguments, 3).eval()  # all its biases are 0
    about = Checkpoint("fresh", "residual-small", arguments, ("a", "b", "c"), preprocessing, Calibration())
    saved = checkpoints.save(tmp_path / "fresh.safetensors", network, about)
    assert saved.runtimes == ("onnxruntime", "torch"), saved.trained
