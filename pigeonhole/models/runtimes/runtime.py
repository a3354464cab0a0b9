"""What runs a network: pixels in, logits out."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class Runtime(ABC):
    """A model, loaded and ready on one device.

    Args:
        precision: In which it computes: "f32", "bf16", "f16" or "int8".
        device: Where: "cpu", "cuda:0".
    """

    #: Its name in `registry.RUNTIMES`.
    name: ClassVar[str]

    def __init__(self, precision: str, device: str) -> None:
        self.precision, self.device = precision, device

    @property
    def kind(self) -> str:
        """Its name and precision, as answers and announcements carry them: `onnxruntime/f32`."""
        return f"{self.name}/{self.precision}"

    @abstractmethod
    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            pixels: uint8 [N, height, width, channels], 0…255, as the model's preprocessing returns them.

        Returns:
            float32 [N, logits].

        Raises:
            MemoryError: There is not enough memory for N images; fewer may do.
            Exception: The runtime's own, if it can't compute them for another reason.
        """
