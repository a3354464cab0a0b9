"""The processes that run the network on GPUs; the tests use CPUs in place of GPUs."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pigeonhole.errors import ExitCode
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import Batch
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.runtimes.choice import Choice
from pigeonhole.settings import Settings
from tests.conftest import children, wait_for
from tests.worker.conftest import published
from worker.devices import client
from worker.devices.client import DeviceRuntime
from worker.devices.lanes import Lanes, best_batch
from worker.devices.protocol import SOCKETS, DeviceLost
from worker.devices.start import DeviceProcesses

StartWorker = Callable[..., "subprocess.Popen[bytes]"]
DIGITS = checkpoints.find("digits")
LOGITS = checkpoints.describe(DIGITS).logits

#: A sitecustomize.py: the worker finds two GPUs, and their processes compute on the CPU.
_CPUS_AS_GPUS = """
import sys

import pigeonhole.models.runtimes.choice as choice

choice.choose = lambda *_: choice.Choice("torch", "f32", ("cuda:0", "cuda:1"))
if "worker.devices.server" in sys.orig_argv:
    from pigeonhole.models.runtimes.torch_runtime import TorchRuntime

    load = TorchRuntime.__init__
    TorchRuntime.__init__ = lambda self, content, precision, device: load(self, content, precision, "cpu")
"""


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceProcesses]:
    """Start two GPU processes, and restore the environment variable afterwards."""
    monkeypatch.setenv(SOCKETS, "")
    with closing(DeviceProcesses(Choice("torch", "f32", ("cpu", "cpu")), DIGITS)) as processes:
        yield processes


@pytest.fixture
def sockets(devices: DeviceProcesses) -> list[str]:
    return os.environ[SOCKETS].split(os.pathsep)


@pytest.fixture
def settings(settings: Settings, root: Path) -> Settings:
    return replace(settings, image_root=str(root))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (600, 28, 28, 1), np.uint8)


def test_a_process_gets_the_logits_that_it_would_compute_itself(sockets: list[str], pixels: np.ndarray) -> None:
    expected = Classifier.load(DIGITS, Settings(runtime="torch", device="cpu")).runtime.logits(pixels)
    runtimes = [DeviceRuntime(sockets[number % 2], LOGITS) for number in range(4)]
    assert {runtime.kind for runtime in runtimes} == {"torch/f32"}
    sizes = [1, 7, 256, 600]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = pool.map(lambda runtime, size: runtime.logits(pixels[:size]), runtimes, sizes)
            for logits, size in zip(found, sizes, strict=True):
                np.testing.assert_allclose(logits, expected[:size], atol=1e-4)
    for runtime in runtimes:
        runtime.close()


def test_each_process_of_the_pool_has_its_device(sockets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    connected = list[str]()
    monkeypatch.setattr(client, "DeviceRuntime", lambda path, _logits: connected.append(path))
    for index in range(4):
        monkeypatch.setattr(client, "current_process", lambda index=index: SimpleNamespace(index=index))
        client.load(Settings())
    assert connected == [*sockets, *sockets]


def test_a_lost_device_is_an_error_and_its_exit_code_is_recorded(
    devices: DeviceProcesses, sockets: list[str], pixels: np.ndarray
) -> None:
    runtime = DeviceRuntime(sockets[0], LOGITS)
    for _device, process in devices._processes:
        process.kill()
        process.wait()
    with pytest.raises(DeviceLost, match=re.escape(sockets[0])), closing(runtime):
        runtime.logits(pixels)
    with pytest.raises(DeviceLost, match=re.escape(sockets[0])):
        DeviceRuntime(sockets[0], LOGITS)
    assert len(devices.ended) == 2
    for line in devices.ended:
        assert "cpu" in line
        assert "exit code -9" in line


def broken(pixels: torch.Tensor) -> torch.Tensor:
    if len(pixels) > 2:
        raise MemoryError("CUDA out of memory")
    if pixels[0, 0] == 7:
        raise RuntimeError("broken kernel")
    return pixels.float()


def test_an_error_fails_only_its_own_chunk_and_the_lanes_continue() -> None:
    lanes = Lanes(broken, torch.device("cpu"), 16)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        lanes.run(torch.zeros((3, 2), dtype=torch.uint8))
    with pytest.raises(RuntimeError, match="broken kernel"):
        lanes.run(torch.full((1, 2), 7, dtype=torch.uint8))
    assert lanes.run(torch.ones((2, 2), dtype=torch.uint8)).tolist() == [[1, 1], [1, 1]]


def test_a_chunk_larger_than_a_batch_is_computed_in_parts() -> None:
    sizes = list[int]()

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        return pixels.float()

    images = torch.arange(70, dtype=torch.uint8).reshape(35, 2)
    assert torch.equal(Lanes(forward, torch.device("cpu"), 16).run(images), images.float())
    assert sizes == [16, 16, 3]


class Clocked:
    """A simulated device whose time for a batch is given by a function."""

    def __init__(self, seconds: Callable[[int], float], most: int = 10**6) -> None:
        self.now, self._seconds, self._most = 0.0, seconds, most

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > self._most:
            raise MemoryError("CUDA out of memory")
        self.now += self._seconds(len(pixels))
        return pixels


@pytest.mark.parametrize(
    ("device", "batch"),
    [
        (Clocked(lambda size: 1.0 * size), 16),  # larger batches are no faster for each image
        (Clocked(lambda size: 100.0 + size), 1024),  # each batch has a fixed cost of 100 images
        (Clocked(lambda size: max(size, 128)), 128),  # 128 images run in parallel
        (Clocked(lambda size: 100.0 + size, most=200), 128),  # the memory limits the batch
    ],
)
def test_the_batch_size_is_the_smallest_with_the_full_speed(device: Clocked, batch: int) -> None:
    assert best_batch(device.forward, lambda size: torch.zeros(size), lambda: device.now) == batch


def test_a_device_without_memory_for_the_smallest_batch_is_refused() -> None:
    with pytest.raises(MemoryError):
        best_batch(Clocked(float, most=15).forward, lambda size: torch.zeros(size))


def test_a_worker_with_two_devices_gives_the_same_rows(
    settings: Settings, samples: Batch, tmp_path: Path, start_worker: StartWorker
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_CPUS_AS_GPUS)
    start_worker(PYTHONPATH=str(tmp_path))
    ledger, job = Ledger(settings), published(settings, samples)
    wait_for(lambda: ledger.status(job).over, "the job's end")
    (done,) = ledger.read(job, 0, 1)
    assert sum(bool(row.label) for row in done.rows()) == len(samples) - 3


def test_a_worker_whose_device_is_lost_ends_and_its_batch_goes_to_another(
    settings: Settings, samples: Batch, tmp_path: Path, start_worker: StartWorker
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_CPUS_AS_GPUS)
    worker = start_worker(PYTHONPATH=str(tmp_path))
    device_processes = children(worker.pid, b"worker.devices.server")
    assert len(device_processes) == 2
    os.kill(device_processes[0], 9)
    assert worker.wait(30) == ExitCode.FAILED
    job = published(settings, samples)
    start_worker()
    ledger = Ledger(settings)
    wait_for(lambda: ledger.status(job).over, "the job's end")
    assert not any(os.path.exists(f"/proc/{child}") for child in device_processes), "they end with their worker"


def test_a_worker_without_gpus_starts_no_process_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKETS, raising=False)
    assert DeviceProcesses(Choice("onnxruntime"), DIGITS).ended == []
    assert SOCKETS not in os.environ
    assert sys.modules.get("worker.devices.server") is None
