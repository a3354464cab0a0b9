"""The runtime of a pool process whose network runs in the process of a GPU."""

import json
import os
import socket
from typing import ClassVar

import numpy as np
from billiard import current_process
from numpy.typing import NDArray

from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.record import TORCH
from pigeonhole.models.runtimes.runtime import Runtime
from pigeonhole.settings import Settings
from worker.devices.protocol import COUNT, REPLY, SOCKETS, DeviceLost, Status, receive


def load(settings: Settings) -> Classifier:
    """Load the model in this process or, if the worker has GPUs, connect to the process of one."""
    path = checkpoints.find(settings.model)
    sockets = os.environ.get(SOCKETS)
    if not sockets:
        return Classifier.load(path, settings)
    paths = sockets.split(os.pathsep)
    about = checkpoints.describe(path)
    return Classifier(about, DeviceRuntime(paths[current_process().index % len(paths)], about.logits))


class DeviceRuntime(Runtime):
    """Sends chunks to the process of a GPU.

    Args:
        path: The socket of the GPU's process.
        logits: The number of logits for each image.

    Raises:
        DeviceLost: The GPU's process has ended.
    """

    name: ClassVar = TORCH

    def __init__(self, path: str, logits: int) -> None:
        self._logits, self._path = logits, path
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(path)
            with self._connection.makefile("rb", buffering=0) as stream:
                about = json.loads(stream.readline())  # arrives once the model is loaded
        except (OSError, ValueError) as exc:
            self.close()
            raise self._lost(exc) from exc
        super().__init__(about["precision"], about["device"])

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits as `Runtime.logits` does; raise DeviceLost if the GPU's process has ended."""
        reply = bytearray(REPLY.size)
        try:
            self._connection.sendall(COUNT.pack(len(pixels)))
            self._connection.sendall(np.ascontiguousarray(pixels).data.cast("B"))
            if not receive(self._connection, memoryview(reply)):
                raise ConnectionError("the connection was closed")
            status, length = REPLY.unpack(reply)
            content = bytearray(length)
            receive(self._connection, memoryview(content))
        except OSError as exc:
            raise self._lost(exc) from exc
        if status == Status.DONE:
            return np.frombuffer(content, np.float32).reshape(len(pixels), self._logits)
        raise (MemoryError if status == Status.MEMORY else RuntimeError)(content.decode())

    def close(self) -> None:
        """Close the connection to the GPU's process."""
        self._connection.close()

    def _lost(self, exc: Exception) -> DeviceLost:
        return DeviceLost(f"the process that runs the network on a GPU does not answer at {self._path}: {exc}")
