"""The runtime `onnxruntime`: ONNX Runtime runs the graph in a model file, on a CPU."""

import re
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pigeonhole.errors import CheckpointError
from pigeonhole.models import graph as graphs
from pigeonhole.models.checkpoint import Content
from pigeonhole.models.record import ONNX_RUNTIME
from pigeonhole.models.runtimes.runtime import Runtime

if TYPE_CHECKING:
    from pigeonhole.models.tensor_file import Tensors

_FATAL = 4  # log level: ONNX Runtime logs to standard error, and raises the errors anyway
#: Messages of ONNX Runtime's allocators when there is not enough memory.
_OUT_OF_MEMORY = re.compile(r"failed to allocate|bad_alloc|out of memory", re.I)
_SHOWN = 300  # characters of a message, which may quote a damaged graph


class OnnxRuntime(Runtime):
    """A session of ONNX Runtime with one thread, because there is a worker process for each core.

    Args:
        content: The model file.
        precision: As for `Runtime`.
        device: Always "cpu".

    Raises:
        CheckpointError: The graph can't be run, or its inputs, outputs or external data are not as in our graphs.
    """

    name: ClassVar = ONNX_RUNTIME

    def __init__(self, content: Content, precision: str = "f32", device: str = "cpu") -> None:
        super().__init__(precision, device)
        names = graphs.stored_weights(content.graph)
        if missing := sorted(set(names) - set(content.weights)):
            raise CheckpointError(
                f"{content.path}: its graph needs the weights {missing[0]!r}, which the file does not have; "
                "make the file again."
            )
        weights = {name: content.weights[name] for name in names}
        try:
            self._session = open_session(content.graph, weights)
            self._check(content)
        except CheckpointError:
            raise
        except Exception as exc:  # ONNX Runtime's exceptions have no other common base class
            raise CheckpointError(f"{content.path}: ONNX Runtime can't load its graph: {_text(exc)}") from exc

    def _check(self, content: Content) -> None:
        about = content.checkpoint
        inputs = [(one.name, one.type, list(one.shape[1:])) for one in self._session.get_inputs()]
        outputs = [(one.name, one.type) for one in self._session.get_outputs()]
        if inputs != [(graphs.INPUT, "tensor(uint8)", list(about.preprocessing.shape))]:
            raise CheckpointError(
                f"{content.path}: its graph takes {inputs}, not {graphs.INPUT!r}, bytes of {about.preprocessing.shape}."
            )
        if outputs != [(graphs.OUTPUT, "tensor(float)")]:
            raise CheckpointError(f"{content.path}: its graph returns {outputs}, not floats called {graphs.OUTPUT!r}.")

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the graph; see `Runtime.logits`."""
        try:
            found: NDArray[np.float32] = self._session.run([graphs.OUTPUT], {graphs.INPUT: pixels})[0]
        except Exception as exc:
            if _OUT_OF_MEMORY.search(str(exc)):
                raise MemoryError(_text(exc)) from exc
            raise
        return found


def open_session(graph: bytes, weights: "Tensors") -> onnxruntime.InferenceSession:
    """Load a graph on the CPU, with one thread.

    Args:
        graph: The ONNX model.
        weights: The graph's external initializers, by name.

    Raises:
        Exception: An exception of ONNX Runtime; these have no other common base class.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
    options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _text(exc: Exception) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0][:_SHOWN]
