"""The networks by name: their layers, costs, arguments, and folding."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.pixels import Pixels
from tests.models.conftest import draw_batch_norm
from tests.training.conftest import TOP
from training.recipes.defaults import plan

NAMES = tuple(networks.NETWORKS)


def pixels(count: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_a_network_takes_bytes_and_returns_float_logits(name: str) -> None:
    logits = networks.build(name, networks.complete(name, {}), 7).eval()(pixels())
    assert logits.shape == (4, 7)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_a_batch_changes_no_result(name: str) -> None:
    network = networks.build(name, networks.complete(name, {}), 10).eval()
    batch = pixels(6)
    assert torch.allclose(network(batch.flip(0)).flip(0), network(batch), atol=1e-5)


def test_a_network_for_digits_refuses_images_of_another_size() -> None:
    with pytest.raises(TrainingError, match=r"'digits' .*28 x 28 in grey, not of 64 x 48 in colour"):
        networks.complete("digits", {}, Preprocessing("stretch", 48, 64, 3))


def test_scale_and_normalisation_are_part_of_the_network() -> None:
    scaled = Pixels([0.5], [0.25])(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 3, 1))
    assert scaled.flatten().tolist() == pytest.approx([-2.0, (0.2 - 0.5) / 0.25, 2.0], abs=1e-6)


def test_the_classic_network_has_exactly_the_published_layers() -> None:
    network = networks.build("classic", {}, 10)
    layers = [module for module in network.modules() if not list(module.children()) and not isinstance(module, Pixels)]
    kinds = [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in layers] == kinds
    shapes = [list(parameter.shape) for parameter in network.parameters() if parameter.dim() > 1]
    assert shapes == [[32, 1, 3, 3], [16, 32, 5, 5], [128, 7744], [10, 128]]


def test_the_classic_network_has_the_published_cost() -> None:
    multiply_adds, parameters = networks.build("classic", {}, 10).fold().cost(plan("classic").preprocessing)
    assert multiply_adds == 26 * 26 * 32 * 9 + 22 * 22 * 16 * 32 * 25 + 7744 * 128 + 128 * 10
    assert parameters == 32 * 10 + 16 * (32 * 25 + 1) + 128 * 7745 + 10 * 129


def test_the_digits_network_stays_within_its_budget() -> None:
    network = networks.build("digits", networks.complete("digits", {}), 10)
    multiply_adds, parameters = network.fold().cost(plan("digits").preprocessing)
    assert multiply_adds <= 1_100_000
    assert parameters <= 100_000


def test_folding_batch_normalisation_changes_no_result() -> None:
    torch.manual_seed(3)
    network = networks.build("digits", networks.complete("digits", {}), 10)
    draw_batch_norm(network, pixels(64))
    served = network.folded()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in served.modules())
    assert torch.allclose(served(pixels(16)), network.eval()(pixels(16)), atol=1e-4)


def test_folding_a_network_without_batch_normalisation_copies_it() -> None:
    network = networks.build("classic", {}, 10)
    served = network.folded()
    assert torch.equal(served(pixels()), network.eval()(pixels()))


def test_completed_arguments_are_complete_and_plain_json() -> None:
    for name in NAMES:
        arguments = networks.complete(name, {})
        assert arguments == networks.complete(name, arguments) == json.loads(json.dumps(arguments))
        mean = [0.4] if isinstance(arguments["mean"], list) else 0.4
        assert networks.complete(name, {"mean": mean}) == {**arguments, "mean": mean}


def test_the_arguments_of_a_checkpoint_of_0_2_0_build_the_same_network() -> None:
    arguments = {"widths": [24, 32, 48, 64], "normalised": False, "mean": 0.1307, "std": 0.3081}
    assert networks.build("digits", arguments, 10).fold().cost(plan("digits").preprocessing) == (1_040_280, 54_922)


def test_an_unknown_network_argument_or_too_few_classes_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"'resnet'.* classic, digits, digits-large, digits-small"):
        networks.build("resnet", {}, 10)
    with pytest.raises(TrainingError, match=r"'digits' .*\{'depth': 3\}"):
        networks.build("digits", {"depth": 3}, 10)
    with pytest.raises(TrainingError, match=r"'digits' .*\[1, 2\]"):
        networks.build("digits", {"widths": [1, 2]}, 10)
    with pytest.raises(TrainingError, match="at least 2 classes"):
        networks.build("digits", {}, 1)


def test_every_network_has_a_plan_for_mnist() -> None:
    assert all(plan(name).preprocessing for name in NAMES)


def test_names_are_known_without_torch() -> None:
    code = "import sys; from pigeonhole.models.networks import registry; print(len(registry.NETWORKS));"
    code += "print([name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert run.stdout == f"{len(NAMES)}\n[]\n"
