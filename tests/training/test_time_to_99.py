"""The clock and the table of the seconds to 99.0%; what is measured takes minutes, and is not a test's."""

from pathlib import Path

import pytest
import torch
from torch import nn

from scripts import time_to_99
from scripts.document import replaced
from scripts.time_to_99 import EVERY, Measured, Reached, Watch, part
from training import data
from training.recipes import plan


def images(labels: torch.Tensor) -> torch.Tensor:
    return torch.eye(10)[labels]


def test_the_clock_looks_now_and_then_and_ends_where_the_goal_is_reached() -> None:
    labels = torch.arange(200) % 10
    network = nn.Linear(10, 10, bias=False)
    watch = Watch(labels)
    nn.init.zeros_(network.weight)
    watch.start(network, images(labels))
    watch.step(EVERY - 1)
    assert (watch.seen, watch.seconds, watch.accuracy) == (EVERY - 1, 0.0, 0.0)
    watch.step(1)
    assert (watch.accuracy, network.training) == (0.1, True)
    before = watch.seconds
    assert before > 0
    nn.init.eye_(network.weight)
    with pytest.raises(Reached):
        watch.step(EVERY)
    assert (watch.seen, watch.accuracy, watch.seconds > before) == (2 * EVERY, 1.0, True)


@pytest.mark.parametrize("side", time_to_99.SIDES)
def test_either_side_trains_and_is_looked_at(side: str, tiny_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = data.mnist(tiny_mnist, "train", plan("digits").preprocessing)
    monkeypatch.setattr(time_to_99, "EVERY", 64)
    monkeypatch.setattr(time_to_99, "EPOCHS", 1)
    watch = Watch(whole.labels[:50])
    time_to_99.SIDES[side](whole.take(torch.arange(128)), whole.take(torch.arange(50)), 0, watch)
    assert watch.seen == 128
    assert watch.seconds > 0
    assert watch.accuracy < time_to_99.GOAL


def test_the_table_has_medians_and_one_that_did_not_get_there_is_the_slowest() -> None:
    measured = [Measured("ours", seconds, 25_600, 0.99) for seconds in (3.0, 1.0, 2.0)]
    measured += [Measured("example", 60, 50_000, accuracy) for accuracy in (0.991, 0.989, 0.99)]
    text = part(measured, 2)
    assert "| `digits`, by `training.loop.fit` | 2.0 | 1.0 to 3.0 | 25,600 |\n" in text
    assert "| PyTorch's example for MNIST | 60.0 | 60.0 to not reached | 50,000 |\n" in text
    assert "`make time-to-99`: 3 rounds, seeds 0 to 2, the two in turn, with 2 threads, on\n" in text


def test_the_documents_have_the_places_that_are_written_to() -> None:
    text = time_to_99.DOCUMENT.read_text()
    for name in ("time to 99", "pareto"):
        assert replaced(text, name, "x\n").count("x\n<!-- end of") == 1
