"""Fixtures for tests of models: small data sets and networks from the tests of training, and the shipped model."""

import torch
from torch import nn

from tests.training.conftest import digit_preprocessing, fresh, tiny_mnist
from tests.worker.conftest import classifier, root

__all__ = ["classifier", "digit_preprocessing", "fresh", "root", "tiny_mnist"]


def draw_batch_norm(network: nn.Module, images: torch.Tensor) -> None:
    """Move the statistics and parameters of each batch norm away from 0 and 1; `images` is uint8 [N, H, W, C]."""
    for _ in range(5):
        network(images)  # training mode updates the statistics
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
