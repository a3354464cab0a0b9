"""The residual networks: their arguments for different sizes of images, and folding."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.network import Network
from tests.models.conftest import draw_batch_norm

NAMES = ("residual-small", "residual", "residual-large")


def pixels(height: int, width: int, channels: int, count: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, height, width, channels), np.uint8))


def fitting(name: str, height: int, width: int, channels: int) -> Network:
    arguments = networks.complete(name, {}, Preprocessing("stretch", height, width, channels))
    return networks.build(name, arguments, 5).eval()


@pytest.mark.parametrize(
    "size", [(28, 28, 1), (32, 32, 3), (64, 48, 3), (9, 40, 3), (96, 96, 1), (224, 224, 3), (1, 1, 1)]
)
def test_residual_networks_take_images_of_any_size_with_one_or_three_channels(size: tuple[int, int, int]) -> None:
    for name in NAMES:
        assert fitting(name, *size)(pixels(*size)).shape == (3, 5)


def test_larger_names_cost_more_and_large_images_cost_little_more() -> None:
    def costs(side: int) -> list[int]:
        return [fitting(name, side, side, 3).cost(Preprocessing("stretch", side, side, 3))[0] for name in NAMES]

    for side in (28, 32, 64, 128):
        small, medium, large = costs(side)
        assert 3 * small < medium < large / 3
    assert costs(32)[1] < 50_000_000
    assert costs(64)[1] < 1.1 * costs(32)[1]
    assert costs(128)[1] < 1.5 * costs(32)[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [8, 28, 64, 128, 256])
def test_every_convolution_has_a_multiple_of_16_channels(name: str, side: int) -> None:
    widths = [part.out_channels for part in fitting(name, side, side, 3).modules() if isinstance(part, nn.Conv2d)]
    assert [width % 16 for width in widths] == [0] * len(widths)


def test_folding_the_batch_normalisation_of_a_residual_network_changes_no_result() -> None:
    preprocessing = Preprocessing("stretch", 20, 24, 3)
    arguments = networks.complete("residual-small", {"mean": [0.4, 0.5, 0.6]}, preprocessing)
    torch.manual_seed(3)
    trained = networks.build("residual-small", arguments, 4)
    draw_batch_norm(trained, pixels(20, 24, 3, 16))
    served = trained.folded()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in served.modules())
    expected = trained.eval()(pixels(20, 24, 3)).detach()
    assert torch.allclose(served(pixels(20, 24, 3)), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_arguments_of_a_residual_network_are_plain_json_and_include_mean_and_std() -> None:
    arguments = networks.complete("residual", {"mean": [0.4], "std": [0.3]}, Preprocessing("stretch", 32, 32, 1))
    assert arguments == json.loads(json.dumps(arguments))
    assert arguments == {
        "widths": [32, 64, 128, 256],
        "strides": [1, 2, 2, 2],
        "blocks": 1,
        "mean": [0.4],
        "std": [0.3],
    }
