"""Damaged and hostile files, and images that need too much memory: a worker returns a row for each image."""

import csv
import io
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from pigeonhole.errors import ExitCode
from pigeonhole.ledger.wire.messages import Batch, Group, Row
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.runtimes.torch_runtime import TorchRuntime
from pigeonhole.settings import Settings
from tests.conftest import SHARED
from tests.fuzz import Sound, damaged_files
from tests.hostile import HOSTILE
from tests.worker.conftest import png
from worker.processing.pipeline import Pipeline

TOO_MUCH = 2**60  # bytes; no machine has them


class Greedy(torch.nn.Module):
    """A network that allocates more memory than the machine has for more than `most` images."""

    most = 0

    def __init__(self, network: torch.nn.Module, allocate: Callable[[], object]) -> None:
        super().__init__()
        self.network, self.allocate, self.sizes = network, allocate, list[int]()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pixels))
        if len(pixels) > self.most:
            self.allocate()
        logits: torch.Tensor = self.network(pixels)
        return logits


ALLOCATE = {"torch": lambda: torch.empty(TOO_MUCH, dtype=torch.uint8), "numpy": lambda: np.empty(TOO_MUCH, np.uint8)}


@dataclass(frozen=True)
class Hungry:
    """A classifier with a greedy network.

    Args:
        classifier: The classifier.
        network: Its network.
    """

    classifier: Classifier
    network: Greedy


@pytest.fixture(params=[*ALLOCATE])
def hungry(request: pytest.FixtureRequest) -> Hungry:
    classifier = Classifier.load(checkpoints.find("digits"), Settings(runtime="torch"))
    runtime = cast(TorchRuntime, classifier.runtime)
    network = Greedy(runtime._network, ALLOCATE[request.param])
    runtime._network = network  # type: ignore[assignment]
    return Hungry(classifier, network)


def rows_with(classifier: Classifier, settings: Settings, root: Path, names: list[str]) -> list[Row]:
    batch = Batch((Group("file", "", "samples/", tuple(names)),))
    pipeline = Pipeline(replace(settings, image_root=str(root), chunk=16), classifier)
    return list(pipeline.classify(batch).rows(batch))


@pytest.fixture
def names(root: Path) -> list[str]:
    """Return the names of 40 samples, including the unreadable ones."""
    return sorted(file.name for file in (root / "samples").iterdir())[-40:]


@pytest.mark.parametrize("most", [1, 3, 8])
def test_a_chunk_too_large_for_the_memory_is_halved_until_it_fits(
    most: int,
    hungry: Hungry,
    classifier: Classifier,
    settings: Settings,
    root: Path,
    names: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hungry.network.most = most
    expected = rows_with(classifier, settings, root, names)
    with caplog.at_level(logging.WARNING):
        rows = rows_with(hungry.classifier, settings, root, names)
    assert any(row.error for row in expected)
    for row, other in zip(rows, expected, strict=True):
        assert (row.path, row.label, row.error) == (other.path, other.label, other.error)
        assert row.confidence == pytest.approx(other.confidence, abs=1e-4)
    assert max(hungry.network.sizes) == 16
    computed = sum(size for size in hungry.network.sizes if size <= most)
    assert computed == sum(not row.error for row in rows), "each image once"
    for part in ("16 images", "trying 8", "PIGEONHOLE_CHUNK"):
        assert part in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_an_image_that_needs_too_much_memory_alone_gets_an_error_row(
    hungry: Hungry, settings: Settings, root: Path, names: list[str]
) -> None:
    rows = rows_with(hungry.classifier, settings, root, names[:5])
    (error,) = {row.error for row in rows}
    assert error.startswith("internal: ")
    assert "memory" in error
    assert "processes" in error
    assert sorted(hungry.network.sizes) == [1, 1, 1, 1, 1, 2, 2, 3, 5]


StartWorker = Callable[..., "subprocess.Popen[bytes]"]


def classified(names: list[str], settings: Settings, root: Path) -> dict[str, dict[str, str]]:
    """Return the rows of files from real workers, by path; check that each file has one."""
    line = [sys.executable, "-m", "pigeonhole", "classify", "-0", "-", "--format", "csv", "--quiet"]
    environment = os.environ | replace(settings, image_root=str(root)).to_environment()
    listed = b"\0".join(map(os.fsencode, names))
    run = subprocess.run(line, cwd=root, env=environment, input=listed, capture_output=True, timeout=100, check=False)
    assert (run.returncode, run.stderr) == (ExitCode.ERROR_ROWS, b"")
    rows = list(csv.DictReader(io.StringIO(run.stdout.decode("utf-8", "surrogateescape"), newline="")))
    assert [row["path"] for row in rows] == names
    assert all(bool(row["label"]) != bool(row["error"]) for row in rows)
    # No file caused an unexpected error or a worker loss.
    assert not [row for row in rows if row["error"].partition(":")[0] in ("internal", "crashed")]
    return {row["path"]: row for row in rows}


@contextmanager
def undisturbed(worker: "subprocess.Popen[bytes]", log: Path) -> Iterator[None]:
    """Check that the worker loses no process and logs nothing during the `with` block."""
    before, written = pool_of(worker), log.stat().st_size
    yield
    assert pool_of(worker) == before
    assert log.read_bytes()[written:] == b""


def pool_of(worker: "subprocess.Popen[bytes]") -> list[str]:
    """Return the ids of a worker's pool processes; none if the system has no /proc."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    return sorted(children.read_text().split()) if children.exists() else []


@pytest.fixture
def worker(start_worker: StartWorker, root: Path) -> "subprocess.Popen[bytes]":
    return start_worker(PIGEONHOLE_IMAGE_ROOT=str(root))


def test_damaged_files_hostile_files_and_odd_paths_have_rows_and_cost_no_worker(
    worker: "subprocess.Popen[bytes]", settings: Settings, root: Path, tmp_path: Path
) -> None:
    names = []
    hostile = (Sound(f"{at}.hostile", file.make(500_000)) for at, file in enumerate([*HOSTILE.values()][::4]))
    for name, data in (*damaged_files(seed=4, count=400), *hostile):
        (root / name).write_bytes(data)
        names.append(name)
    expected = odd_paths(root)
    with socket.socket(socket.AF_UNIX) as server, undisturbed(worker, tmp_path / "celery@test.log"):
        server.bind(os.path.relpath(root / "socket.png"))
        rows = classified([*names, *expected], settings, root)
    kinds = {path: row["error"].partition(":")[0] for path, row in rows.items()}
    assert {path: kinds[path] for path in expected} == expected
    assert {kinds[name] for name in names} > {"", "not-an-image", "truncated", "corrupt", "too-large"}


def odd_paths(root: Path) -> dict[str, str]:
    """Create files and folders that are no images; return each path and the expected kind of error."""
    (root / "folder.png").mkdir()
    (root / "empty.png").touch()
    os.mkfifo(root / "fifo.png")
    (root.parent / "secret.png").write_bytes(png())
    (root / "out.png").symlink_to(root.parent / "secret.png")
    (root / "in.png").symlink_to("samples/003b50.png")
    (root / "circle.png").symlink_to("circle.png")
    (root / "device.png").symlink_to("/dev/zero")
    return {
        "folder.png": "not-a-file",
        "empty.png": "empty",
        "fifo.png": "not-a-file",
        "socket.png": "not-a-file",
        "out.png": "outside",
        "device.png": "outside",
        "../secret.png": "outside",
        "circle.png": "unreadable",
        "gone.png": "missing",
        "in.png/x.png": "missing",
        "in.png": "",
        "/".join(["d" * 200] * 20): "missing",  # 4,019 bytes; with the root, still within the limit of a path
        ("x" * 63 + "/") * 63 + "x" * 64: "unreadable",  # 4,096 bytes
    }


@pytest.mark.shared
def test_every_odd_image_has_its_row_and_costs_no_worker(
    start_worker: StartWorker, settings: Settings, tmp_path: Path
) -> None:
    odd = SHARED / "odd-images"
    worker = start_worker(PIGEONHOLE_IMAGE_ROOT=str(odd))
    names = sorted(str(file.relative_to(odd)) for file in odd.rglob("*") if file.is_file())
    assert len(names) > 180
    with undisturbed(worker, tmp_path / "celery@test.log"):
        rows = classified(names, settings, odd)
    broken = {name for name in names if Path(name).name.startswith("x") or not name.endswith((".png", ".jpg"))}
    kinds = {name: row["error"].partition(":")[0] for name, row in rows.items() if row["error"]}
    # Some images have only one colour, which is no digit.
    assert {name for name, kind in kinds.items() if kind != "blank"} == broken
