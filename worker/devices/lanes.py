"""Runs the chunks of several pool processes on one device: one is copied while another is computed."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

#: The number of threads, each with its own CUDA stream: one copies while the other computes.
LANES = 2
#: The smallest and the largest batch size that is tried; each is double the one before.
_SMALLEST, _LARGEST = 16, 1024
#: A larger batch size must be this many times as fast to be worth its memory.
_GAIN = 1.05
#: Measurements per batch size. The best counts, because other programs may use the device.
_TIMES = 3

Forward = Callable[[Tensor], Tensor]


class _Chunk(NamedTuple):
    """A waiting chunk of a pool process: uint8 [N, H, W, C] on the CPU, and its future logits, float32 [N, L]."""

    pixels: Tensor
    logits: "Future[Tensor]"


class Lanes:
    """The threads that run a network.

    Args:
        forward: The network: uint8 [N, H, W, C] → float32 [N, L], both on the device.
        device: The device of the network.
        batch: The largest number of images at once.
    """

    def __init__(self, forward: Forward, device: torch.device, batch: int) -> None:
        self._forward, self._device, self._batch = forward, device, batch
        self._waiting: queue.SimpleQueue[_Chunk] = queue.SimpleQueue()
        for number in range(LANES):
            threading.Thread(target=self._run, name=f"lane-{number}", daemon=True).start()

    def run(self, pixels: Tensor) -> Tensor:
        """Run the network on a chunk, together with other waiting chunks if they fit.

        Args:
            pixels: uint8 [N, H, W, C] on the CPU, in pinned memory if the device is a GPU.

        Returns:
            float32 [N, L] on the CPU.

        Raises:
            Exception: The network's error.
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
            except Exception as exc:  # noqa: BLE001 - passed on to the threads that wait for these chunks
                for chunk in chunks:
                    chunk.logits.set_exception(exc)
                continue
            for chunk, part in zip(chunks, parts, strict=True):
                chunk.logits.set_result(part)

    def _gather(self) -> list[_Chunk]:
        """Wait for a chunk; return it with other waiting chunks that fit into one batch."""
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
        # `cpu` waits for this thread's stream only.
        logits = torch.cat([self._forward(part) for part in torch.split(pixels, self._batch)]).cpu()
        return torch.split(logits, [len(chunk) for chunk in chunks])


def best_batch(
    forward: Forward, pixels: Callable[[int], Tensor], clock: Callable[[], float] = time.perf_counter
) -> int:
    """Return the batch size from which doubling gains less than 5 %.

    Args:
        forward: The network, as for `Lanes`.
        pixels: Returns N images on the device.
        clock: Returns the time in seconds.

    Raises:
        MemoryError: There is not enough memory for the smallest batch size.
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
    """Return images per second, the best of several measurements."""
    forward(pixels).cpu()  # warm-up: chooses kernels, allocates memory
    seconds = []
    for _ in range(_TIMES):
        started = clock()
        forward(pixels).cpu()
        seconds.append(clock() - started)
    return len(pixels) / max(min(seconds), 1e-9)
