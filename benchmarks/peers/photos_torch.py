"""The ways in PyTorch's documentation: a network in torch, and torchvision's transforms.

`DataLoaderLoop` is a data set, a `DataLoader` with two workers, and a loop in the calling process. `TimmScript` follows
timm's inference script, with the script's defaults.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from PIL import Image
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.common.machine import PROCESSES, PROCESSORS
from benchmarks.common.measure import Clock, Images
from benchmarks.imagenet import CLASSES, DEVIATION, MEAN, SHORTER, SIDE, network

SIZE = 64
LOADER_SETTINGS = (
    f"a `Dataset` with Pillow and torchvision's `Resize`, `CenterCrop`, `ToTensor`, `Normalize`; "
    f"`DataLoader(batch_size={SIZE}, num_workers=2)`; the network in eager torch with torch's default of one thread "
    "per processor, in `inference_mode`"
)
TIMM_SETTINGS = (
    "timm's `create_dataset` and `create_loader` as in its `inference.py`, with that script's defaults (batches of 256 "
    "and 2 workers), softmax and top 1; the network in eager torch with one thread per processor"
)
#: The transforms in torchvision's guide to its models.
TRANSFORM = transforms.Compose(
    [
        transforms.Resize(SHORTER),
        transforms.CenterCrop(SIDE),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, DEVIATION),
    ]
)


class Files(Dataset[Tensor]):
    """Image files as float32 [3, 224, 224]."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self._paths[index]) as file:
            pixels: Tensor = TRANSFORM(file.convert("RGB"))
        return pixels


class Torch:
    """A network in the calling process, with torch's default of one thread per processor."""

    def start(self) -> None:
        """Load the network."""
        torch.set_num_threads(PROCESSORS)
        self._network = network()

    def stop(self) -> None:
        """Set one thread again, for the next system."""
        torch.set_num_threads(1)

    def _labels(self, batches: Iterable[Any]) -> list[str]:
        labels: list[str] = []
        with torch.inference_mode():
            for batch in batches:
                labels += (CLASSES[index] for index in self._network(batch).softmax(-1).argmax(-1).tolist())
        return labels


class DataLoaderLoop(Torch):
    """A loop over a `DataLoader`."""

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Classify the list of files."""
        return self._labels(DataLoader(Files(images.paths), batch_size=SIZE, num_workers=PROCESSES))


class TimmScript(Torch):
    """The steps of timm's inference script."""

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Classify the folder."""
        data = create_dataset(name="", root=images.folder)
        loader = create_loader(
            data,
            input_size=(3, SIDE, SIDE),
            batch_size=256,
            mean=MEAN,
            std=DEVIATION,
            interpolation="bilinear",
            crop_pct=SIDE / SHORTER,
            num_workers=PROCESSES,
            device=torch.device("cpu"),
        )
        labels = self._labels(batch for batch, _ in loader)
        by_path = dict(zip(data.filenames(basename=False, absolute=True), labels, strict=True))
        return [by_path[path] for path in images.paths]
