"""Fine-tuning begins where a checkpoint ended."""

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
    """Save a network of three animals and "unknown"; like in a trained one, no bias is 0."""
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


def test_it_has_the_logits_of_the_checkpoint_for_every_picture(saved: tuple[Checkpoint, Network]) -> None:
    network, others = initialised(saved, CLASSES, 4), 255 - pixels()
    with torch.inference_mode():
        assert torch.allclose(network(pixels()), saved[1](pixels()), atol=1e-4)
        assert torch.allclose(network(others), saved[1](others), atol=1e-3)
    _described, served = saved
    folded = network.folded()
    with torch.inference_mode():
        assert torch.allclose(folded(others), served(others), atol=1e-3)


def test_in_training_batch_normalisation_sees_the_statistics_that_it_was_given(
    saved: tuple[Checkpoint, Network],
) -> None:
    network = initialised(saved, CLASSES, 4)
    with torch.inference_mode():
        assert torch.allclose(network.train()(pixels()), saved[1](pixels()), atol=1e-3)


def test_classes_in_common_keep_their_rows_and_new_ones_begin_afresh(saved: tuple[Checkpoint, Network]) -> None:
    network = initialised(saved, ("ape", "fox", "cat"), 4)
    with torch.inference_mode():
        found, known = network(pixels()), saved[1](pixels())
    assert torch.allclose(found[:, 1:], known[:, [2, 0, 3]], atol=1e-4)
    assert not torch.allclose(found[:, 0], known[:, 1], atol=0.1)


def test_a_logit_for_none_that_the_new_one_lacks_is_left_out(saved: tuple[Checkpoint, Network]) -> None:
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
    ("options", "message"),
    [
        (("--from", "digits", "--network", "residual"), "has the network 'digits', and --network is 'residual'"),
        (("--from", "digits", "--pretrained"), "--pretrained and --from both name initial weights"),
        (("--from", "away.safetensors"), "'away.safetensors' doesn't exist"),
        (("--pretrained",), "no pretrained weights for the network 'residual'; --pretrained is for torchvision's"),
        (("--network", "resnet"), "Unknown network 'resnet'; this version knows classic"),
        (("--network", "resnet", "--pretrained"), "Unknown network 'resnet'"),
    ],
)
def test_initial_weights_that_cannot_be_used_are_a_clear_error(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = run("train", "--dataset", f"folder:{tmp_path}", "-o", tmp_path / "mine.safetensors", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
