"""The runtimes by name, and a function to load a model in one.

To add a runtime, write one class (`pigeonhole.models.runtimes.runtime.Runtime`) whose arguments are a `Content`, a
precision and a device, and register it here. `choice` decides when it is used.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pigeonhole.models.record import ONNX_RUNTIME, TORCH
from pigeonhole.registry import Registry

if TYPE_CHECKING:
    from pigeonhole.models.checkpoint import Content
    from pigeonhole.models.runtimes.choice import Choice
    from pigeonhole.models.runtimes.runtime import Runtime

_HERE = "pigeonhole.models.runtimes"
RUNTIMES: Registry["Runtime"] = Registry(
    {ONNX_RUNTIME: f"{_HERE}.onnx_runtime:OnnxRuntime", TORCH: f"{_HERE}.torch_runtime:TorchRuntime"}
)


def load(content: "Content", choice: "Choice") -> "Runtime":
    """Load a model in the chosen runtime, on the first of the chosen devices.

    Raises:
        CheckpointError: The runtime can't load it.
        SettingsError: The runtime can't use that device.
    """
    runtime: Callable[[Content, str, str], Runtime] = RUNTIMES.load(choice.runtime)
    return runtime(content, choice.precision, choice.devices[0])
