"""Runs chunks of several processes on one device: the next is copied there while one is computed."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

#: Threads, each with a CUDA stream of its own: one copies while the other computes.
LANES = 2
#: Numbers of images at once that are tried, each double the one before.
_SMALLEST, _LARGEST = 16, 1024
#: A larger number must gain this much to be worth its memory.
_GAIN = 1.05
#: Each number is timed this often, and the best counts: other programs may use the device.
_TIMES = 3

Forward = Callable[[Tensor], Tensor]


class _Chunk(NamedTuple):
    """A process' images that wait: uint8 [N, H, W, C] on the CPU, and where their logits, float32 [N, L], go."""

    pixels: Tensor
    logits: "Future[Tensor]"


class Lanes:
    """The threads that run a network.

    Args:
        forward: uint8 [N, H, W, C] → float32 [N, L], both on the device.
        device: Where.
        batch: The most images at once.
    """

    def __init__(self, forward: Forward, device: torch.device, batch: int) -> None:
        self._forward, self._device, self._batch = forward, device, batch
        self._waiting: queue.SimpleQueue[_Chunk] = queue.SimpleQueue()
        for number in range(LANES):
            threading.Thread(target=self._run, name=f"lane-{number}", daemon=True).start()

    def run(self, pixels: Tensor) -> Tensor:
        """Run the network on a chunk, perhaps together with other threads' chunks.

        Args:
            pixels: uint8 [N, H, W, C] on the CPU, in pinned memory if the device is a GPU.

        Returns:
            float32 [N, L] on the CPU.

        Raises:
            Exception: Whatever the network raised.
        """
        logits: Future[Tensor] = Future()
        self._waiting.put(_Chunk(pixels, logits))
        return logits.result()

    def _run(self) -> None:
        stream = None
        if self._device.type == "cuda":
            stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        while True:
            chunks = self._gather()
            try:
                with torch.cuda.stream(stream) if stream else nullcontext():
                    parts = self._computed([chunk.pixels for chunk in chunks])
            except Exception as exc:  # noqa: BLE001 - it goes to those whose chunks they were
                for chunk in chunks:
                    chunk.logits.set_exception(exc)
                continue
            for chunk, part in zip(chunks, parts, strict=True):
                chunk.logits.set_result(part)

    def _gather(self) -> list[_Chunk]:
        """Wait for a chunk, and take others that wait as well, as far as they fit into one batch."""
        chunks = [self._waiting.get()]
        size = len(chunks[0].pixels)
        while size < self._batch:
            try:
                chunks.append(self._waiting.get_nowait())
            except queue.Empty:
                break
            size += len(chunks[-1].pixels)
        return chunks

    def _computed(self, chunks: list[Tensor]) -> tuple[Tensor, ...]:
        there = [chunk.to(self._device, non_blocking=True) for chunk in chunks]
        pixels = there[0] if len(there) == 1 else torch.cat(there)
        # `cpu` waits for this stream alone.
        logits = torch.cat([self._forward(part) for part in torch.split(pixels, self._batch)]).cpu()
        return torch.split(logits, [len(chunk) for chunk in chunks])


def best_batch(
    forward: Forward, pixels: Callable[[int], Tensor], clock: Callable[[], float] = time.perf_counter
) -> int:
    """Return how many images at once are fast enough: doubling them again would gain less than a twentieth.

    Args:
        forward: As of `Lanes`.
        pixels: Returns N images on the device.
        clock: Gives seconds.

    Raises:
        MemoryError: There is not enough memory for the smallest number.
    """
    best, most = _SMALLEST, 0.0
    size = _SMALLEST
    while size <= _LARGEST:
        try:
            rate = _rate(forward, pixels(size), clock)
        except MemoryError:
            if size == _SMALLEST:
                raise
            break
        if rate < _GAIN * most:
            break
        best, most = size, rate
        size *= 2
    return best


def _rate(forward: Forward, pixels: Tensor, clock: Callable[[], float]) -> float:
    """Return images per second, the best of some times."""
    forward(pixels).cpu()  # chooses kernels, allocates
    seconds = []
    for _ in range(_TIMES):
        started = clock()
        forward(pixels).cpu()
        seconds.append(clock() - started)
    return len(pixels) / max(min(seconds), 1e-9)
