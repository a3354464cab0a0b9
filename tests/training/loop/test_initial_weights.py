"""Fine-tuning starts from the weights of a checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.network import Network
from tests.training.conftest import save_fresh
from tests.training.datasets.test_folder import QUICK, folder, run
from training.loop.initial_weights import Learned

INPUT = Preprocessing("stretch", 24, 20, 3)
CLASSES = ("cat", "dog", "fox")


def pixels(count: int = 40) -> torch.Tensor:
    return torch.randint(0, 256, (count, 24, 20, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Checkpoint, Network]:
    """Save and load a network of three classes and "unknown"; no bias is 0, as in a trained network."""
    arguments = networks.complete("residual-small", {}, INPUT)
    torch.manual_seed(2)
    network = networks.build("residual-small", arguments, 4).fold()
    for parameter in network.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, -0.5, 0.5)
    save_fresh(
        tmp_path / "animals.safetensors",
        network,
        network="residual-small",
        arguments=arguments,
        classes=CLASSES,
        preprocessing=INPUT,
        calibration=Calibration(1.0, 0.5, outlier=True),
    )
    return checkpoint.load(tmp_path / "animals.safetensors")


def initialised(saved: tuple[Checkpoint, Network], classes: tuple[str, ...], logits: int) -> Network:
    described, served = saved
    network = networks.build(described.network, described.arguments, logits)
    Learned(described, served).initialise(network, classes, pixels())
    return network.eval()


def test_the_network_gives_the_same_logits_as_the_checkpoint(saved: tuple[Checkpoint, Network]) -> None:
    network, others = initialised(saved, CLASSES, 4), 255 - pixels()
    with torch.inference_mode():
        assert torch.allclose(network(pixels()), saved[1](pixels()), atol=1e-4)
        assert torch.allclose(network(others), saved[1](others), atol=1e-3)
    _described, served = saved
    folded = network.folded()
    with torch.inference_mode():
        assert torch.allclose(folded(others), served(others), atol=1e-3)


def test_batch_normalisation_gives_the_same_logits_in_training_mode(
    saved: tuple[Checkpoint, Network],
) -> None:
    network = initialised(saved, CLASSES, 4)
    with torch.inference_mode():
        assert torch.allclose(network.train()(pixels()), saved[1](pixels()), atol=1e-3)


def test_common_classes_keep_their_weights_and_new_classes_get_fresh_ones(saved: tuple[Checkpoint, Network]) -> None:
    network = initialised(saved, ("ape", "fox", "cat"), 4)
    with torch.inference_mode():
        found, known = network(pixels()), saved[1](pixels())
    assert torch.allclose(found[:, 1:], known[:, [2, 0, 3]], atol=1e-4)
    assert not torch.allclose(found[:, 0], known[:, 1], atol=0.1)


def test_a_network_without_unknown_drops_the_unknown_logit_of_the_checkpoint(saved: tuple[Checkpoint, Network]) -> None:
    with torch.inference_mode():
        assert torch.allclose(initialised(saved, CLASSES, 3)(pixels()), saved[1](pixels())[:, :3], atol=1e-4)


def test_a_training_starts_from_a_checkpoint_with_other_classes(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"one": 16, "two": 16}, (24, 24), colour=True)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert run("train", "--dataset", f"folder:{root}", "-o", first, *QUICK).exit_code == 0
    folder(tmp_path / "data", {"zebra": 16}, (24, 24), colour=True, seed=3)
    options = ("--from", first, "--epochs", "1", "--device", "cpu", "--flip")
    result = run("train", "--dataset", f"folder:{root}", "-o", second, *options)
    assert result.exit_code == 0, result.output
    old, new = checkpoint.describe(first), checkpoint.describe(second)
    assert new.classes == ("one", "two", "zebra")
    assert (new.network, new.arguments, new.preprocessing) == (old.network, old.arguments, old.preprocessing)
    assert new.trained["start"] == {"name": old.name, "digest": old.digest}
    assert new.trained["recipe"]["learning_rate"] == old.trained["recipe"]["learning_rate"] / 4
    assert new.trained["recipe"]["augmentation"]["flip"] is True


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--from", "digits", "--network", "residual"), ("'digits'", "--network is 'residual'")),
        (("--from", "digits", "--pretrained"), ("--pretrained and --from",)),
        (("--from", "away.safetensors"), ("'away.safetensors'",)),
        (("--pretrained",), ("'residual'", "--pretrained")),
        (("--network", "resnet"), ("'resnet'", "classic")),
        (("--network", "resnet", "--pretrained"), ("'resnet'",)),
    ],
)
def test_unusable_initial_weights_are_an_error(
    tmp_path: Path, options: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    result = run("train", "--dataset", f"folder:{tmp_path}", "-o", tmp_path / "mine.safetensors", *options)
    assert result.exit_code == 2
    output = " ".join(result.output.split())
    assert [part for part in parts if part not in output] == []
