"""Training where `os` has no sched_getaffinity, as on macOS."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cli import app
from training.processes import available, spread


@pytest.fixture(autouse=True)
def without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")


def test_all_processors_count_as_available() -> None:
    assert available() == os.cpu_count()


def test_work_is_spread_over_processes() -> None:
    assert list(spread(abs, [-1, -2, 3], print, (), 2)) == [1, 2, 3]


def test_a_network_is_trained(tiny_mnist: Path, tmp_path: Path) -> None:
    command = ["train", "--data", str(tiny_mnist), "-o", str(tmp_path / "tiny.safetensors"), "--epochs", "1"]
    result = CliRunner().invoke(app, [*command, "--batch-size", "32", "--device", "cpu", "--no-synthetic"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "tiny.safetensors").exists()
