"""The runtime `torch`: torch runs the network with the weights in a model file, on a CPU or a GPU."""

import re
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.checkpoint import Content
from pigeonhole.models.record import TORCH
from pigeonhole.models.runtimes.runtime import Runtime

#: Precision → torch's dtype.
_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
#: Messages in a RuntimeError of torch's allocators, cuBLAS and cuDNN when there is not enough memory.
_OUT_OF_MEMORY = re.compile(r"out of memory|can(no|')t allocate|alloc_failed", re.I)


class TorchRuntime(Runtime):
    """A network in torch with one thread, because there is a worker process for each core.

    Args:
        content: The model file.
        precision: As for `Runtime`.
        device: The device, by torch's name.

    Raises:
        CheckpointError: The network can't be built, or can't use the device.
    """

    name: ClassVar = TORCH

    def __init__(self, content: Content, precision: str = "f32", device: str = "cpu") -> None:
        super().__init__(precision, device)
        torch.set_num_threads(1)
        network = checkpoints.network_of(content, device)
        self._network = network.to(_DTYPES[precision]).to(memory_format=torch.channels_last)

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network; see `Runtime.logits`."""
        found: NDArray[np.float32] = self.forward(torch.from_numpy(pixels).to(self.device)).cpu().numpy()
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """Run the network: uint8 [N, H, W, C] → float32 [N, logits], both on the device.

        Raises:
            MemoryError, Exception: As for `Runtime.logits`.
        """
        try:
            with torch.inference_mode():
                return self._network(pixels).float()  # type: ignore[no-any-return]
        except RuntimeError as exc:  # torch raises it for nearly all errors
            if _OUT_OF_MEMORY.search(str(exc)):
                raise MemoryError(str(exc)) from exc
            raise
