"""The base class of runtimes, which run networks: pixels in, logits out."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class Runtime(ABC):
    """A model that is loaded on one device.

    Args:
        precision: The precision of the network: "f32", "bf16", "f16" or "int8".
        device: The device, such as "cpu" or "cuda:0".
    """

    #: The runtime's name in `registry.RUNTIMES`.
    name: ClassVar[str]

    def __init__(self, precision: str, device: str) -> None:
        self.precision, self.device = precision, device

    @property
    def kind(self) -> str:
        """Runtime and precision, as in the messages of workers: `onnxruntime/f32`."""
        return f"{self.name}/{self.precision}"

    @abstractmethod
    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            pixels: uint8 [N, height, width, channels], 0…255, as the model's preprocessing returns them.

        Returns:
            float32 [N, logits].

        Raises:
            MemoryError: There is not enough memory for N images; fewer images may work.
            Exception: An exception of the runtime, for any other reason.
        """
