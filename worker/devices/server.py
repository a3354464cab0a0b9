"""The process that runs a worker's network on one GPU: `python -m worker.devices.server`, with JSON on standard input.

All pool processes of a worker read and decode images, and share this process. If each ran the network itself, each
would need a CUDA context (about 500 MB of GPU memory), and the GPU would switch between them. This process ends with
its worker, which holds the other end of its standard input.
"""

import json
import logging
import os
import socket
import sys
import threading

import torch

from pigeonhole.errors import PigeonholeError
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.runtimes.torch_runtime import TorchRuntime
from worker.devices.lanes import Lanes, best_batch
from worker.devices.protocol import COUNT, REPLY, Status, receive
from worker.refusal import refuse

logger = logging.getLogger(__name__)

#: The most bytes of a chunk's pixels; a pool process sends smaller ones (`worker.processing.pipeline`).
_LARGEST = 4 * 2**30


class Server:
    """Serves the pool processes, with a thread for each.

    Args:
        runtime: The network on its device.
        shape: Height, width and channels of an image.
    """

    def __init__(self, runtime: TorchRuntime, shape: tuple[int, int, int]) -> None:
        self._shape, self._pinned = shape, runtime.device != "cpu"
        device = torch.device(runtime.device)
        batch = best_batch(runtime.forward, lambda size: torch.zeros((size, *shape), dtype=torch.uint8, device=device))
        self._lanes = Lanes(runtime.forward, device, batch)
        self._hello = json.dumps({"device": runtime.device, "precision": runtime.precision, "batch": batch}).encode()

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.sendall(self._hello + b"\n")
                count, memory = bytearray(COUNT.size), torch.empty(0, dtype=torch.uint8)
                while receive(connection, memoryview(count)):
                    shape = (*COUNT.unpack(count), *self._shape)
                    size = int(torch.Size(shape).numel())
                    if size > _LARGEST:
                        raise ConnectionError(f"a chunk has {size:,} bytes, more than {_LARGEST:,}")
                    if len(memory) < size:
                        memory = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)
                    receive(connection, memory.numpy().data[:size])
                    self._reply(connection, memory[:size].reshape(shape))
        except OSError as exc:  # a pool process ended; its replacement connects again
            logger.warning("lost the connection to a pool process: %s", exc)

    def _reply(self, connection: socket.socket, pixels: torch.Tensor) -> None:
        try:
            content, status = self._lanes.run(pixels).numpy().tobytes(), Status.DONE
        except MemoryError as exc:
            content, status = str(exc).encode(), Status.MEMORY
        except Exception as exc:  # noqa: BLE001 - it becomes the error of the chunk's rows
            content, status = f"{type(exc).__name__}: {exc}".encode(), Status.FAILED
        connection.sendall(REPLY.pack(status, len(content)) + content)


def main() -> None:
    """Load the model, then serve."""
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_worker, daemon=True).start()
    try:
        content = checkpoints.read(request["model"])
        runtime = TorchRuntime(content, request["precision"], request["device"])
        server = Server(runtime, content.checkpoint.preprocessing.shape)
    except (PigeonholeError, MemoryError) as exc:
        raise refuse(exc) from None
    server.serve(socket.socket(fileno=request["listener"]))


def _end_with_worker() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
