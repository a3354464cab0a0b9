"""Files that are no checkpoints of this version, damaged, or lie about their content are refused."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pigeonhole.errors import CheckpointError
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import describe, load
from pigeonhole.models.networks import registry as networks
from tests.messages import check_message
from tests.models.checkpoints.files import Fresh, digest_of, metadata, refused, rewrite
from tests.training.conftest import save_fresh


def signed(path: Path, tensors: Mapping[str, torch.Tensor] | None = None) -> Path:
    """Write the file with the right digest of its content, or of new tensors."""
    tensors = load_file(path) if tensors is None else dict(tensors)
    values = metadata(path) | {"digest": digest_of(describe(path), tensors)}
    save_file(tensors, path, metadata={"pigeonhole": json.dumps(values)})
    return path


@pytest.mark.parametrize("runtimes", [["torch"], ["onnxruntime", "abacus"], []])
def test_wrong_or_unknown_runtimes_are_refused(fresh: Fresh, runtimes: list[str]) -> None:
    message = refused(rewrite(fresh[0], runtimes=runtimes))
    assert "ONNX graph" in message or "newer pigeonhole" in message


def test_a_missing_or_foreign_file_is_refused(fresh: Fresh, tmp_path: Path) -> None:
    check_message(refused(tmp_path / "none.safetensors"), "none.safetensors", "No such file or directory")
    check_message(refused(tmp_path), str(tmp_path), "Is a directory")
    other = tmp_path / "other.safetensors"
    for content in (b"", b"short", b"This is a text and no checkpoint.", bytes(100), struct.pack("<Q", 40) + b"{" * 40):
        other.write_bytes(content)
        check_message(refused(other), str(other), "not a safetensors file")
    save_file({"weight": torch.zeros(3)}, other)
    check_message(refused(other), str(other), "`pigeonhole train`")


def test_a_truncated_file_is_refused_wherever_it_ends(fresh: Fresh) -> None:
    path, _saved, _network = fresh
    whole = path.read_bytes()
    for size in (100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        check_message(refused(path), "truncated", "copy it again")
    path.write_bytes(whole + b"x")
    check_message(refused(path), str(path), "longer")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"version": 3}, ["version 3", "versions 1 to 2"]),
        ({"version": True}, ["version True"]),
        (
            {"network": "resnet18"},
            ["'resnet18'", "classic, digits, digits-large, digits-small"],
        ),
        ({"preprocessing": {"kind": "tilt", "height": 28, "width": 28, "channels": 1}}, ["'tilt'"]),
        ({"classes": ["a"]}, ["at least 2", "['a']"]),
        ({"classes": ["a", "a"]}, ["at least 2 different", "['a', 'a']"]),
        ({"classes": "0123456789"}, ["str for 'classes', not list"]),
        ({"calibration": {"temperature": 0, "review_below": 0.5}}, ["above 0, not 0"]),
        ({"calibration": {"temperature": 1, "review_below": 1.5}}, ["from 0 to 1, not 1.5"]),
        ({"calibration": {"outlier_in_review": 0}}, ["outlier_in_review", "above 0, not 0"]),
        ({"calibration": {"temperature": 1, "outlier": 1}}, ["outlier ", "true or false, not 1"]),
        ({"calibration": {"temperature": 1, "shift": 1}}, ["'shift'"]),
        ({"name": "No Queue"}, ["'No Queue'"]),
        ({"digest": "1234"}, ["'1234'", "64 hexadecimal digits"]),
        ({"measured": ...}, ["lacks 'measured'"]),
        ({"sequel": 1}, ["'sequel'"]),
    ],
)
def test_unknown_or_invalid_metadata_is_refused(fresh: Fresh, changes: dict[str, object], parts: list[str]) -> None:
    path = rewrite(fresh[0], **changes)
    check_message(refused(path), str(path), *parts)


@pytest.mark.parametrize("name", ["", "Digits", "a b", "x" * 65, "ä", "a/b", "a\n"])
def test_an_invalid_name_of_a_model_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"64 lower-case letters"):
        checkpoint.check_name(name)
    assert checkpoint.check_name("digits-v2.1_b") == "digits-v2.1_b"


def test_changed_metadata_that_affects_results_is_refused(fresh: Fresh) -> None:
    path = rewrite(fresh[0], calibration={"temperature": 3.0, "review_below": 0.5})
    assert describe(path).calibration.temperature == 3.0
    check_message(refused(path, load), str(path), "changed")


def test_a_changed_weight_is_refused(fresh: Fresh) -> None:
    path, _saved, _network = fresh
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    check_message(refused(path, load), str(path), "changed")


def test_weights_that_do_not_fit_the_network_are_refused(fresh: Fresh) -> None:
    path, _saved, _network = fresh
    weights = load_file(path)
    wrong = signed(path, {**weights, "head.bias": torch.zeros(11)})
    check_message(refused(wrong, load), "'head.bias'", "torch.float32 [11], not torch.float32 [10]")
    half = signed(path, {**weights, "head.bias": torch.zeros(10).half()})
    check_message(refused(half, load), "'head.bias'", "torch.float16 [10], not torch.float32 [10]")
    less = signed(path, {key: value for key, value in weights.items() if key != "head.bias"})
    assert "lack 'head.bias'" in refused(less, load)
    more = signed(path, {**weights, "tail": torch.zeros(1)})
    assert "unknown 'tail'" in refused(more, load)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_with_nan_or_infinity_are_neither_saved_nor_loaded(fresh: Fresh, value: float) -> None:
    path, _saved, network = fresh
    weights = load_file(path)
    weights["head.bias"][3] = value
    save_file(weights, path, metadata={"pigeonhole": json.dumps(metadata(path))})
    check_message(refused(path, load), "'head.bias'", "NaN")
    network.get_parameter("head.bias").data[3] = value
    check_message(refused(path, lambda target: save_fresh(target, network)), "NaN")


def test_unknown_arguments_of_a_network_are_refused(fresh: Fresh) -> None:
    check_message(refused(signed(rewrite(fresh[0], arguments={"depth": 9})), load), "'digits'", "{'depth': 9}")


@pytest.mark.parametrize("width", [10**6, 10**300, 1e300, float("nan")])
def test_a_network_that_is_too_large_is_refused_before_it_takes_memory(fresh: Fresh, width: float) -> None:
    path = signed(rewrite(fresh[0], arguments={"widths": [24, width, 48, 64]}))
    check_message(refused(path, load), "argument", "up to 2048")


@pytest.mark.parametrize("width", [64, -1, "wide"])
def test_a_network_of_another_size_than_its_weights_is_refused(fresh: Fresh, width: object) -> None:
    arguments = {**networks.complete("digits", {}), "widths": [16, width, 64, 96]}
    message = refused(signed(rewrite(fresh[0], arguments=arguments)), load)
    check_message(message, *(["'layers.1.0.bias'", "[48]", "[64]"] if width == 64 else ["'digits'", repr(width)]))


def damage(path: Path, header: object, length: int | None = None) -> Path:
    """Write the file with another header, as JSON values or bytes, and with a length of the header."""
    whole = path.read_bytes()
    (old,) = struct.unpack_from("<Q", whole)
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + whole[8 + old :])
    return path


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, "header .* 0 bytes"),
        (20_000_000, "header .* 20,000,000 bytes"),
        (2**62, "header .* 4,611,686,018,427,387,904 bytes"),
        (9_000_000, "truncated.* 9000008"),
        (100, "header .*damaged"),
        (6_000, "header .*damaged"),
    ],
)
def test_a_header_with_a_wrong_length_is_refused(fresh: Fresh, length: int, message: str) -> None:
    content = fresh[0].read_bytes()
    (old,) = struct.unpack_from("<Q", content)
    with pytest.raises(CheckpointError, match=message):
        describe(damage(fresh[0], content[8 : 8 + old], length))


@pytest.mark.timeout(20)  # multiplying these numbers would take minutes, or all memory
@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [10**300] * 20_000},
        {"shape": [2**62] * 16},
        {"shape": ["a", 10**12]},
        {"shape": [[0], 10**12]},
        {"shape": [-1, -10]},
        {"shape": [True, 10]},
        {"shape": [10.0]},
        {"shape": {}},
        {"shape": None},
        {"data_offsets": [0.0, 40.0]},
        {"data_offsets": [-40, 0]},
        {"data_offsets": [40, 0]},
        {"data_offsets": [0]},
        {"dtype": "F8_E4M3"},
        {"dtype": ["F32"]},
    ],
)
def test_an_invalid_tensor_is_refused_at_once(fresh: Fresh, changes: dict[str, object]) -> None:
    content = fresh[0].read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack_from("<Q", content)[0]])
    header["head.bias"] |= changes
    for action in (describe, load):
        message = refused(damage(fresh[0], header), action)
        check_message(message, str(fresh[0]), "header is damaged")
        assert len(message) < 500


@pytest.mark.parametrize(
    "header", [b"{", b"{not json}", b'{"\xff": 1}', b'{"a": ' + b"[" * 100_000, b'{"a": 1}', b'{"a": []}']
)
def test_an_invalid_header_is_refused(fresh: Fresh, header: bytes) -> None:
    check_message(refused(damage(fresh[0], header)), str(fresh[0]), "not a safetensors file")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "not a pigeonhole checkpoint"),
        (["pigeonhole"], "not a pigeonhole checkpoint"),
        ({"pigeonhole": {}}, "not a pigeonhole checkpoint"),
        ({"pigeonhole": "{"}, "not JSON"),
        ({"pigeonhole": "[]"}, "not a JSON object"),
        ({"pigeonhole": "[" * 100_000}, "nested too deeply"),
    ],
)
def test_foreign_metadata_is_refused(fresh: Fresh, metadata: object, message: str) -> None:
    content = fresh[0].read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack_from("<Q", content)[0]])
    assert message in refused(damage(fresh[0], {**header, "__metadata__": metadata}))
