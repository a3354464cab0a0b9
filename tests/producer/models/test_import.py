"""`import` of PyTorch files: their weights become a checkpoint, and no code in the file is run."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from pigeonhole.errors import CheckpointError, ExitCode
from pigeonhole.models.checkpoint import load
from producer.models.importing.state_dict import read
from tests.training.test_cli import run


def published(softmax: bool, inside: bool = False) -> nn.Module:
    """Return the classic network in the form in which others publish it.

    Args:
        softmax: Whether the network ends with a softmax.
        inside: Whether the network is inside another module, so that its keys have a prefix.
    """
    layers = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 16, 5), nn.ReLU(), nn.Flatten()]
    layers += [nn.Linear(7744, 128), nn.ReLU(), nn.Linear(128, 10)]
    network = nn.Sequential(*layers, *([nn.Softmax(dim=1)] if softmax else []))
    return nn.ModuleDict({"model": network}) if inside else network


@pytest.mark.parametrize("softmax", [False, True], ids=["logits", "softmax"])
def test_a_published_state_dict_becomes_a_checkpoint_with_the_same_results(softmax: bool, tmp_path: Path) -> None:
    network = published(softmax).eval()
    torch.save(network.state_dict(), tmp_path / "mnist_cnn.pt")
    path = tmp_path / "classic.safetensors"
    done = run("import", tmp_path / "mnist_cnn.pt", "-o", path)
    assert done.exit_code == ExitCode.OK, done.output
    described, ours = load(path)
    assert (described.name, described.preprocessing.kind, described.classes) == (
        "classic",
        "stretch",
        tuple("0123456789"),
    )
    pixels = torch.randint(0, 256, (6, 28, 28, 1), dtype=torch.uint8)
    original = network(pixels.permute(0, 3, 1, 2) / 255)
    result = ours(pixels).softmax(1) if softmax else ours(pixels)
    assert torch.allclose(result, original, atol=1e-5)


def test_state_dicts_with_other_keys_and_precisions_are_imported(tmp_path: Path) -> None:
    network = published(softmax=True, inside=True)
    for name, content in (
        ("inside.pt", network.state_dict()),
        ("wrapped.pt", {"epoch": 3, "state_dict": network.state_dict()}),
        ("half.pt", {key: value.half() for key, value in network.state_dict().items()}),
        ("late.pt", {key.replace("model.", "1"): value for key, value in network.state_dict().items()}),
    ):
        torch.save(content, tmp_path / name)
        result = run("import", tmp_path / name, "-o", tmp_path / f"{name}.safetensors")
        assert result.exit_code == 0, (name, result.output)


def test_an_import_replaces_an_import_of_the_same_file_and_nothing_else(tmp_path: Path) -> None:
    for name in ("one.pt", "other.pt"):
        torch.save(published(softmax=True, inside=True).state_dict(), tmp_path / name)
    path = tmp_path / "x.safetensors"
    assert [run("import", tmp_path / "one.pt", "-o", path).exit_code for _ in range(2)] == [0, 0]
    before = path.read_bytes()
    refused = run("import", tmp_path / "other.pt", "-o", path)
    assert refused.exit_code == ExitCode.USAGE
    assert str(path) in refused.stderr
    assert "--overwrite" in refused.stderr
    assert path.read_bytes() == before
    assert run("import", tmp_path / "other.pt", "-o", path, "--overwrite").exit_code == 0
    path.write_bytes(b"my thesis")
    assert run("import", tmp_path / "other.pt", "-o", path).exit_code == ExitCode.USAGE
    assert path.read_bytes() == b"my thesis"


def test_mean_and_std_options_set_the_normalisation(tmp_path: Path) -> None:
    network = published(softmax=False).eval()
    torch.save(network.state_dict(), tmp_path / "m.pt")
    path = tmp_path / "c.safetensors"
    assert run("import", tmp_path / "m.pt", "-o", path, "--mean", "0.1307", "--std", "0.3081").exit_code == 0
    pixels = torch.randint(0, 256, (6, 28, 28, 1), dtype=torch.uint8)
    original = network((pixels.permute(0, 3, 1, 2) / 255 - 0.1307) / 0.3081)
    assert torch.allclose(load(path)[1](pixels), original, atol=1e-4)


class Bomb:
    """Creates a folder when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": Bomb()}, "bomb.pt")
    torch.save(published(softmax=False), "whole.pt")
    for name in ("bomb.pt", "whole.pt"):
        result = run("import", name, "-o", "x.safetensors")
        assert result.exit_code == ExitCode.USAGE
        assert name in result.stderr
        assert "run code" in result.stderr
    assert sorted(os.listdir()) == ["bomb.pt", "whole.pt"]


def test_a_file_without_known_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    small = {"0.weight": torch.zeros(8, 1, 3, 3), "0.bias": torch.zeros(8)}
    for content, parts in (
        (b"text", ()),
        (b"", ("torch.save",)),
        ([1, 2], ("state_dict",)),
        ({"epoch": 3}, ("state_dict",)),
        (small, ("0.weight [8, 1, 3, 3], 0.bias [8]", "2 tensors", "ONNX")),
    ):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        result = run("import", path, "-o", tmp_path / "y.safetensors")
        assert result.exit_code == ExitCode.USAGE, content
        for part in ("x.pt: ", *parts):
            assert part in result.stderr
    missing = tmp_path / "none.pt"
    result = run("import", missing, "-o", tmp_path / "y.safetensors")
    assert result.exit_code == ExitCode.USAGE
    assert f"{missing}: " in result.stderr
    with pytest.raises(CheckpointError):
        read(missing)
