"""ONNX files as other programs write them become graphs of ours, with the same results."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pigeonhole.errors import CheckpointError
from pigeonhole.models.conversion import foreign, trial
from pigeonhole.models.conversion.convert import Converted, convert
from pigeonhole.models.conversion.layout import Layout
from pigeonhole.models.conversion.wrap import Meaning, Normalisation
from tests.models.conversion.small import CLASSES, SIDE, classifier, expected

PLAIN = Normalisation()


def converted(model: ModelProto, normalisation: Normalisation = PLAIN, **options: Any) -> Converted:
    return convert(foreign.parse(model.SerializeToString()), normalisation, **options)


def logits(found: Converted, count: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Return test images, and the graph's logits for them."""
    pixels = trial.images(found.placement.shape, count)
    return pixels, trial.Session(found.graph).run(pixels)["logits"]


@pytest.mark.parametrize(
    ("layout", "dims"),
    [
        ("NCHW", ("N", 3, SIDE, SIDE)),
        ("NHWC", ("N", SIDE, SIDE, 3)),
        ("NCHW", (None, 3, None, None)),
        ("NHWC", (None, None, None, 3)),
        ("NCHW", ("N", "C", SIDE, SIDE)),
        ("NHWC", (1, SIDE, SIDE, "C")),
        ("NHWC", (None, None, None, None)),
    ],
)
def test_layout_and_size_are_detected_and_the_logits_stay_the_same(layout: str, dims: tuple[Any, ...]) -> None:
    found = converted(classifier(dims, layout), size=(SIDE, SIDE))
    assert (found.placement.layout, found.placement.shape) == (Layout(layout), (SIDE, SIDE, 3))
    assert (found.logits, found.meaning) == (CLASSES, Meaning.LOGITS)
    pixels, values = logits(found)
    assert values.dtype == np.float32
    assert values == pytest.approx(expected(pixels), abs=1e-4)


def test_a_graph_for_any_size_gets_the_size_of_imagenet_by_default() -> None:
    assert converted(classifier((None, 3, None, None))).placement.shape == (224, 224, 3)


def test_grey_images_and_normalisation_are_part_of_the_graph() -> None:
    found = converted(classifier(("N", 1, SIDE, SIDE), channels=1), Normalisation((0.2,), (0.5,)))
    pixels, values = logits(found)
    assert values == pytest.approx(expected(pixels, 0.2, 0.5), abs=1e-4)
    coloured = converted(classifier(), Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    pixels, values = logits(coloured)
    wanted = expected(pixels, np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7]))  # type: ignore[arg-type]
    assert values == pytest.approx(wanted, abs=1e-4)


def test_a_graph_with_uint8_input_gets_unchanged_pixels() -> None:
    found = converted(classifier(("N", SIDE, SIDE, 3), "NHWC", kind=TensorProto.UINT8), Normalisation((0.5,), (0.5,)))
    pixels, values = logits(found)
    assert values == pytest.approx(expected(pixels, scale=1.0), rel=1e-4)


def test_a_graph_in_half_precision_returns_float_logits() -> None:
    found = converted(classifier(kind=TensorProto.FLOAT16))
    pixels, values = logits(found)
    assert values.dtype == np.float32
    assert values == pytest.approx(expected(pixels), abs=0.05)


@pytest.mark.parametrize("opset", [8, 11, 12, 13, 17, 21])
def test_probabilities_become_logits_with_the_same_softmax(opset: int) -> None:
    found = converted(classifier(last="Softmax", opset=opset))
    assert found.meaning is Meaning.PROBABILITIES
    pixels, values = logits(found)
    wanted = expected(pixels)
    exponents = np.exp(wanted - wanted.max(axis=1, keepdims=True))
    assert np.exp(values) == pytest.approx(exponents / exponents.sum(axis=1, keepdims=True), abs=1e-5)
    assert np.isfinite(values).all()
    model = ModelProto.FromString(found.graph)
    assert [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")] == [opset]


def test_log_probabilities_are_accepted_as_logits() -> None:
    assert converted(classifier(last="LogSoftmax")).meaning is Meaning.LOGITS


def test_independent_probabilities_are_refused_without_multi_label() -> None:
    with pytest.raises(CheckpointError, match=r"do not add up to 1.*--multi-label"):
        converted(classifier(last="Sigmoid"))
    with pytest.raises(CheckpointError, match=r"add up to 1.* leave out --multi-label"):
        converted(classifier(last="Softmax"), multi_label=True)


@pytest.mark.parametrize(("last", "meaning"), [("Sigmoid", Meaning.SIGMOIDS), ("", Meaning.LOGITS)])
def test_the_sigmoid_of_a_multi_label_model_is_inverted(last: str, meaning: Meaning) -> None:
    found = converted(classifier(last=last), multi_label=True)
    assert found.meaning is meaning
    pixels, values = logits(found)
    wanted = expected(pixels)
    assert values == pytest.approx(wanted, abs=1e-3)
    assert 1 / (1 + np.exp(-values.astype(float))) == pytest.approx(1 / (1 + np.exp(-wanted)), abs=1e-6)


def test_sigmoids_of_0_and_1_have_finite_logits() -> None:
    model = classifier(last="Sigmoid")
    for each in model.graph.initializer:
        if each.name.startswith("fc."):
            each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each) * 500, each.name))
    pixels, values = logits(converted(model, multi_label=True))
    assert np.isfinite(values).all()
    assert ((values > 0) == (expected(pixels) * 500 > 0)).any(axis=0).all()
    shares = 1 / (1 + np.exp(-values.astype(float)))
    assert shares.min() < 1e-6
    assert shares.max() > 1 - 1e-6


@pytest.mark.parametrize("dims", [(1, 3, SIDE, SIDE), (4, 3, SIDE, SIDE)])
def test_a_fixed_batch_size_becomes_variable_if_no_node_needs_it(dims: tuple[int, ...]) -> None:
    found = converted(classifier(dims))
    assert found.batches == f"any number of images at a time (the file says {dims[0]})"
    for count in (1, 2, 9):
        pixels, values = logits(found, count)
        assert values == pytest.approx(expected(pixels), abs=1e-4)


def test_a_reshape_to_one_row_becomes_one_row_for_each_image() -> None:
    for shape in ([1, 4], [1, -1]):
        model = classifier((1, 3, SIDE, SIDE), flatten="Reshape")
        constant = next(each for each in model.graph.initializer if each.name == "shape")
        constant.CopyFrom(numpy_helper.from_array(np.array(shape, np.int64), "shape"))
        found = converted(model)
        assert found.batches == "any number of images at a time (the file says 1)"
        pixels, values = logits(found, 9)
        assert values == pytest.approx(expected(pixels), abs=1e-4)


def test_a_graph_for_one_image_runs_for_each_image_of_a_batch() -> None:
    model = classifier((1, 3, SIDE, SIDE), flatten="Reshape", last="Softmax", names=("pixels", "logits"))
    # In this model the shape is computed, not a constant.
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 3], np.int64), "more"))
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    at = list(model.graph.node).index(reshape)
    constant = next(each for each in model.graph.initializer if each.name == "shape")
    constant.CopyFrom(numpy_helper.from_array(np.array([1, 1], np.int64), "shape"))
    model.graph.node.insert(at, helper.make_node("Add", ["shape", "more"], ["sum"]))
    model.graph.node[at + 1].input[1] = "sum"
    found = converted(model)
    assert found.batches == "one image at a time, run for each image of a batch"
    pixels, values = logits(found, 9)
    wanted = expected(pixels)
    assert values - values.max(axis=1, keepdims=True) == pytest.approx(
        wanted - wanted.max(axis=1, keepdims=True), abs=1e-3
    )


def test_an_output_of_four_dimensions_is_flattened() -> None:
    pixels, values = logits(converted(classifier(flatten="")))
    assert values == pytest.approx(expected(pixels), abs=1e-4)


@pytest.mark.parametrize("names", [("pixels", "logits"), ("logits", "pixels"), ("pigeonhole/scale", "pixels-1")])
def test_names_of_nodes_do_not_collide_with_added_nodes(names: tuple[str, str]) -> None:
    pixels, values = logits(converted(classifier(names=names)))
    assert values == pytest.approx(expected(pixels), abs=1e-4)


def test_an_exported_graph_is_imported_with_the_same_logits() -> None:
    first = converted(classifier(last="Softmax"))
    again = convert(foreign.parse(first.graph), Normalisation((0.5,), (0.5,)))
    assert logits(again)[1] == pytest.approx(logits(first)[1], abs=1e-5)
    third = convert(foreign.parse(again.graph), PLAIN)
    assert logits(third)[1] == pytest.approx(logits(first)[1], abs=1e-5)


def test_weights_that_are_listed_as_inputs_are_no_inputs() -> None:
    model = classifier(opset=9, ir=3)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    pixels, values = logits(converted(model))
    assert values == pytest.approx(expected(pixels), abs=1e-4)


def test_the_output_with_a_value_for_each_class_is_used() -> None:
    model = classifier()
    features = model.graph.node[-1].input[0]
    model.graph.output.append(helper.make_tensor_value_info(features, TensorProto.FLOAT, ["N", 4]))
    with pytest.raises(CheckpointError, match=r"outputs for one image are output \[1, 5\], flatten-3 \[1, 4\]"):
        converted(model)
    pixels, values = logits(converted(model, classes=CLASSES))
    assert values == pytest.approx(expected(pixels), abs=1e-4)


def test_the_same_file_converts_to_the_same_graph() -> None:
    assert converted(classifier()).graph == converted(classifier()).graph


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("N", 4, SIDE, SIDE), r"\? x 4 x 12 x 12; .* 1 or 3 channels"),
        ((1, 3, 5000, 5000), "5000 x 5000 pixels, .*at most 4096"),
        (("N", 3, SIDE), "has four dimensions"),
    ],
)
def test_an_input_that_is_no_batch_of_images_is_refused(dims: tuple[Any, ...], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted(classifier(dims))


def test_another_size_than_that_of_the_graph_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"12 x 12 pixels, .*--preprocess .* 32 x 16"):
        converted(classifier(), size=(16, 32))


def test_a_network_that_returns_nan_or_constant_values_is_refused() -> None:
    model = classifier()
    bias = next(each for each in model.graph.initializer if each.name == "fc.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(CLASSES, np.nan, np.float32), "fc.bias"))
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        converted(model)
    model = classifier()
    weight = next(each for each in model.graph.initializer if each.name == "fc.weight")
    weight.CopyFrom(numpy_helper.from_array(np.zeros((4, CLASSES), np.float32), "fc.weight"))
    with pytest.raises(CheckpointError, match="the same values for every image"):
        converted(model)
