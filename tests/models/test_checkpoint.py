import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pigeonhole.errors import CheckpointError, SettingsError, TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint, describe, find, load
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.network import Network
from pigeonhole.settings import Settings
from tests.training.conftest import TOP, save_fresh

Fresh = tuple[Path, Checkpoint, Network]


def refused(path: Path, action: object = describe) -> str:
    with pytest.raises(CheckpointError) as caught:
        action(path)  # type: ignore[operator]
    return str(caught.value)


def metadata(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    length = struct.unpack_from("<Q", content)[0]
    return dict(json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["pigeonhole"]))


def rewrite(path: Path, **changes: object) -> Path:
    """Write the file with changed metadata; a value of `...` removes the key."""
    values = {key: value for key, value in {**metadata(path), **changes}.items() if value is not ...}
    save_file(load_file(path), path, metadata={"pigeonhole": json.dumps(values, sort_keys=True)})
    return path


def digest(about: Checkpoint, tensors: Mapping[str, torch.Tensor]) -> str:
    """Compute the digest by its definition."""
    found = hashlib.sha256(json.dumps(about.deciding(), sort_keys=True).encode())
    for key, value in sorted(tensors.items()):
        found.update(f"\n{key} {value.dtype} {list(value.shape)}\n".encode() + value.numpy().tobytes())
    return found.hexdigest()


def signed(path: Path, tensors: Mapping[str, torch.Tensor] | None = None) -> Path:
    """Write the file with the right digest of its content, or of new tensors."""
    tensors = load_file(path) if tensors is None else dict(tensors)
    values = metadata(path) | {"digest": digest(describe(path), tensors)}
    save_file(tensors, path, metadata={"pigeonhole": json.dumps(values)})
    return path


def test_what_was_saved_is_what_is_described_and_loaded(fresh: Fresh) -> None:
    path, saved, network = fresh
    described = describe(path)
    loaded, again = load(path)
    assert saved == described == loaded
    assert described.name == "fresh"
    assert described.classes == tuple("0123456789")
    assert described.preprocessing == Preprocessing("digit", 28, 28, 1)
    assert described.calibration == Calibration(1.25, 0.5)
    assert described.cost.multiply_adds > 0
    assert not again.training
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8))
    assert torch.equal(again(pixels), network(pixels))


def test_a_file_of_version_0_2_is_read_with_its_digest_and_is_for_torch_alone(fresh: Fresh) -> None:
    path, saved, _network = fresh
    weights = {key: value for key, value in load_file(path).items() if key != "onnx"}
    text = json.dumps(metadata(rewrite(path, version=1, runtimes=...)) | {"digest": digest(saved, weights)})
    save_file(weights, path, metadata={"pigeonhole": text})
    described, loaded = load(path)
    assert described.runtimes == ("torch",)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in weights.items())
    with pytest.raises(SettingsError, match="can be run by torch, not by onnxruntime: set PIGEONHOLE_RUNTIME=torch"):
        Classifier.load(path, Settings(runtime="onnxruntime"))


@pytest.mark.parametrize("runtimes", [["torch"], ["onnxruntime", "abacus"], []])
def test_runtimes_that_the_file_is_not_for_are_refused(fresh: Fresh, runtimes: list[str]) -> None:
    message = refused(rewrite(fresh[0], runtimes=runtimes))
    assert "has an ONNX graph" in message or "use a newer pigeonhole" in message


def test_the_same_content_is_the_same_file_byte_for_byte(fresh: Fresh, tmp_path: Path) -> None:
    path, _saved, network = fresh
    for number in range(3):
        other = tmp_path / f"{number}.safetensors"
        save_fresh(other, network)
        assert other.read_bytes() == path.read_bytes()


def test_the_digest_covers_what_decides_a_result_and_nothing_else(fresh: Fresh, tmp_path: Path) -> None:
    path, saved, network = fresh
    other = tmp_path / "other.safetensors"
    same = save_fresh(other, network, name="renamed", trained={"seconds": 12}, measured={"test": 1})
    assert same.digest == saved.digest
    assert other.read_bytes() != path.read_bytes()
    different = [
        save_fresh(other, network, calibration=Calibration(1.26, 0.5)),
        save_fresh(other, network, calibration=Calibration(1.25, 0.6)),
        save_fresh(other, network, classes=tuple("9876543210")),
        save_fresh(other, network, preprocessing=Preprocessing("stretch", 28, 28, 1)),
    ]
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1e-6
    different.append(save_fresh(other, network))
    digests = {made.digest for made in different}
    assert len(digests) == len(different)
    assert saved.digest not in digests


def test_a_checkpoint_may_have_one_logit_more_than_classes(tmp_path: Path) -> None:
    network = networks.build("digits", networks.complete("digits", {}), 11).fold()
    path = tmp_path / "doubting.safetensors"
    doubting = Calibration(1.25, 0.5, outlier=True, outlier_in_confidence=0.01, outlier_in_review=100.0)
    saved = save_fresh(path, network, calibration=doubting)
    described, loaded = load(path)
    assert described == saved
    assert described.calibration == doubting
    assert (len(described.classes), described.logits) == (10, 11)
    pixels = torch.zeros(3, 28, 28, 1, dtype=torch.uint8)
    assert torch.equal(loaded(pixels), network(pixels))
    assert loaded(pixels).shape == (3, 11)
    with pytest.raises(CheckpointError, match=r"'head.weight' is torch.float32 \[11, 384\], not .* \[10, 384\]"):
        save_fresh(path, network, calibration=Calibration(1.25, 0.5))


def test_a_checkpoint_from_before_that_logit_keeps_its_digest(fresh: Fresh) -> None:
    path, saved, _network = fresh
    assert metadata(path)["calibration"] == {"temperature": 1.25, "review_below": 0.5}
    assert not describe(path).calibration.outlier
    assert load(path)[0].digest == saved.digest
    # Digests of the shipped models. They must not change.
    load(find("digits"))


def test_saving_replaces_a_file_in_one_step_and_leaves_no_other(fresh: Fresh) -> None:
    path, _saved, network = fresh
    before = path.stat().st_ino
    save_fresh(path, network, name="second")
    assert describe(path).name == "second"
    assert path.stat().st_ino != before
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_is_not_there_is_a_clear_error(fresh: Fresh, tmp_path: Path) -> None:
    _path, _saved, network = fresh
    with pytest.raises(TrainingError, match=r"x\.safetensors: can't be written \(No such file or directory\); choose"):
        save_fresh(tmp_path / "no" / "x.safetensors", network)


def test_a_file_that_is_missing_or_something_else_is_a_clear_error(fresh: Fresh, tmp_path: Path) -> None:
    assert "can't be read (No such file or directory)" in refused(tmp_path / "none.safetensors")
    assert "can't be read (Is a directory)" in refused(tmp_path)
    other = tmp_path / "other.safetensors"
    for content in (b"", b"short", b"This is a text and no checkpoint.", bytes(100), struct.pack("<Q", 40) + b"{" * 40):
        other.write_bytes(content)
        assert f"{other}: It is not a safetensors file" in refused(other)
    save_file({"weight": torch.zeros(3)}, other)
    assert "not a pigeonhole checkpoint; make one with `pigeonhole train`" in refused(other)


def test_a_truncated_file_is_noticed_wherever_it_ends(fresh: Fresh) -> None:
    path, _saved, _network = fresh
    whole = path.read_bytes()
    for size in (100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "truncated" in refused(path)
        assert "copy it again" in refused(path)
    path.write_bytes(whole + b"x")
    assert "longer than its header says" in refused(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "format version 3, but this pigeonhole reads versions 1 to 2"),
        ({"version": True}, "format version True"),
        (
            {"network": "resnet18"},
            "It needs the network 'resnet18', but this version knows classic, digits, digits-large, digits-small",
        ),
        ({"preprocessing": {"kind": "tilt", "height": 28, "width": 28, "channels": 1}}, "Unknown preprocessing 'tilt'"),
        ({"classes": ["a"]}, "at least 2 different classes, not ['a']"),
        ({"classes": ["a", "a"]}, "at least 2 different classes, not ['a', 'a']"),
        ({"classes": "0123456789"}, "has str for 'classes', not list"),
        ({"calibration": {"temperature": 0, "review_below": 0.5}}, "must be a number above 0, not 0"),
        ({"calibration": {"temperature": 1, "review_below": 1.5}}, "from 0 to 1, not 1.5"),
        ({"calibration": {"outlier_in_review": 0}}, "outlier_in_review must be a number above 0, not 0"),
        ({"calibration": {"temperature": 1, "outlier": 1}}, "outlier must be true or false, not 1"),
        ({"calibration": {"temperature": 1, "shift": 1}}, "unexpected keyword argument 'shift'"),
        ({"name": "No Queue"}, "'No Queue' can't name a model"),
        ({"digest": "1234"}, "Its digest is '1234', not 64 hexadecimal digits"),
        ({"measured": ...}, "lacks 'measured'"),
        ({"sequel": 1}, "unknown key 'sequel'"),
    ],
)
def test_metadata_that_this_version_does_not_know_is_never_guessed_at(
    fresh: Fresh, changes: dict[str, object], message: str
) -> None:
    path = rewrite(fresh[0], **changes)
    assert message in refused(path)
    assert str(path) in refused(path)


@pytest.mark.parametrize("name", ["", "Digits", "a b", "x" * 65, "ä", "a/b", "a\n"])
def test_a_name_that_cannot_name_a_queue_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"at most 64 lower-case letters, digits, '-', '_' and '\.'"):
        checkpoint.check_name(name)
    assert checkpoint.check_name("digits-v2.1_b") == "digits-v2.1_b"


def test_a_change_to_what_decides_a_result_is_noticed(fresh: Fresh) -> None:
    path = rewrite(fresh[0], calibration={"temperature": 3.0, "review_below": 0.5})
    assert describe(path).calibration.temperature == 3.0
    assert "was changed after it was written" in refused(path, load)


def test_a_changed_weight_is_noticed(fresh: Fresh) -> None:
    path, _saved, _network = fresh
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert "was changed after it was written" in refused(path, load)


def test_weights_that_do_not_fit_the_network_are_refused(fresh: Fresh) -> None:
    path, _saved, _network = fresh
    weights = load_file(path)
    wrong = signed(path, {**weights, "head.bias": torch.zeros(11)})
    assert "'head.bias' is torch.float32 [11], not torch.float32 [10]" in refused(wrong, load)
    half = signed(path, {**weights, "head.bias": torch.zeros(10).half()})
    assert "'head.bias' is torch.float16 [10], not torch.float32 [10]" in refused(half, load)
    less = signed(path, {key: value for key, value in weights.items() if key != "head.bias"})
    assert "lack 'head.bias'" in refused(less, load)
    more = signed(path, {**weights, "tail": torch.zeros(1)})
    assert "unknown 'tail'" in refused(more, load)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_neither_saved_nor_loaded(fresh: Fresh, value: float) -> None:
    path, _saved, network = fresh
    weights = load_file(path)
    weights["head.bias"][3] = value
    save_file(weights, path, metadata={"pigeonhole": json.dumps(metadata(path))})
    assert "'head.bias' contain NaN or infinity" in refused(path, load)
    network.get_parameter("head.bias").data[3] = value
    assert "contain NaN or infinity" in refused(path, lambda target: save_fresh(target, network))


def test_arguments_that_the_network_does_not_take_are_refused(fresh: Fresh) -> None:
    assert "'digits' can't be built with {'depth': 9}" in refused(
        signed(rewrite(fresh[0], arguments={"depth": 9})), load
    )


@pytest.mark.parametrize("width", [10**6, 10**300, 1e300, float("nan")])
def test_a_network_larger_than_any_is_refused_before_it_takes_memory(fresh: Fresh, width: float) -> None:
    path = signed(rewrite(fresh[0], arguments={"widths": [24, width, 48, 64]}))
    assert "A network's argument must be a number up to 2048, not" in refused(path, load)


@pytest.mark.parametrize("width", [64, -1, "wide"])
def test_a_network_of_another_size_than_the_weights_is_refused(fresh: Fresh, width: object) -> None:
    arguments = {**networks.complete("digits", {}), "widths": [16, width, 64, 96]}
    message = refused(signed(rewrite(fresh[0], arguments=arguments)), load)
    assert "'layers.1.0.bias' is torch.float32 [48], not torch.float32 [64]" in message or "can't be built" in message


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
        (0, "its header would take 0 bytes"),
        (20_000_000, "its header would take 20,000,000 bytes"),
        (2**62, "its header would take 4,611,686,018,427,387,904 bytes"),
        (9_000_000, "It is truncated: .* bytes, but its header alone has 9000008"),
        (100, "its header is damaged"),
        (6_000, "its header is damaged"),
    ],
)
def test_a_header_that_lies_about_its_length_is_refused(fresh: Fresh, length: int, message: str) -> None:
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
def test_a_tensor_that_can_not_be_is_refused_at_once(fresh: Fresh, changes: dict[str, object]) -> None:
    content = fresh[0].read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack_from("<Q", content)[0]])
    header["head.bias"] |= changes
    for action in (describe, load):
        message = refused(damage(fresh[0], header), action)
        assert "not a safetensors file: its header is damaged" in message
        assert len(message) < 500


@pytest.mark.parametrize(
    "header", [b"{", b"{not json}", b'{"\xff": 1}', b'{"a": ' + b"[" * 100_000, b'{"a": 1}', b'{"a": []}']
)
def test_a_header_that_is_no_json_or_not_of_tensors_is_refused(fresh: Fresh, header: bytes) -> None:
    assert "It is not a safetensors file" in refused(damage(fresh[0], header))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "not a pigeonhole checkpoint"),
        (["pigeonhole"], "not a pigeonhole checkpoint"),
        ({"pigeonhole": {}}, "not a pigeonhole checkpoint"),
        ({"pigeonhole": "{"}, "Its metadata is not JSON"),
        ({"pigeonhole": "[]"}, "Its metadata is not a JSON object"),
        ({"pigeonhole": "[" * 100_000}, "Its metadata is nested too deeply"),
    ],
)
def test_metadata_that_is_none_of_ours_is_refused(fresh: Fresh, metadata: object, message: str) -> None:
    content = fresh[0].read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack_from("<Q", content)[0]])
    assert message in refused(damage(fresh[0], {**header, "__metadata__": metadata}))


def test_a_device_that_torch_does_not_have_is_refused(fresh: Fresh) -> None:
    message = refused(fresh[0], lambda path: load(path, "cuda:63"))
    assert "The device 'cuda:63' can't be used" in message
    assert "this machine has: cpu" in message


def test_a_checkpoint_is_found_by_path_or_by_the_name_of_a_shipped_one(fresh: Fresh, tmp_path: Path) -> None:
    assert find("digits") == TOP / "pigeonhole" / "models" / "shipped" / "digits.safetensors"
    assert find(fresh[0]) == fresh[0]
    assert refused(Path("nine"), find) == (
        "The checkpoint 'nine' doesn't exist; give a .safetensors file, or the name of a shipped checkpoint: digits, "
        "digits-int8."
    )
    assert "is a folder" in refused(tmp_path, find)


def test_a_file_without_a_suffix_is_found_too(fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(fresh[0], "digits")
    assert find("digits").parent.name == "shipped"
    assert describe(find("./digits")).name == "fresh"


def test_the_shipped_checkpoint_loads_is_small_and_says_what_it_is() -> None:
    path = find("digits")
    described, network = load(path)
    assert described.name == described.network == "digits"
    assert path.stat().st_size < 1_000_000
    assert described.cost == checkpoint.Cost(*network.cost(described.preprocessing))
    assert described.cost.multiply_adds <= 1_100_000
    assert described.measured["test"]["accuracy"] >= 0.995
    assert described.trained["dataset"] == "mnist"


def test_describing_needs_no_torch() -> None:
    code = (
        "import sys; from pigeonhole.models import checkpoint; checkpoint.describe(checkpoint.find('digits'));"
        "print([name for name in ('torch', 'torchvision', 'safetensors') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert run.stdout == "[]\n"


def test_the_digest_is_what_its_definition_says(fresh: Fresh) -> None:
    path, saved, _network = fresh
    assert saved.digest == digest(saved, load_file(path))
    assert replace(saved, name="other").digest == saved.digest
