import io
import re

import pytest
from rich.console import Console

from training.loop.epochs import Epoch
from training.progress import TrainingProgress

LOSSES = {1: 0.03, 2: 0.01, 3: 0.02}


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def shown(file: io.StringIO, quiet: bool = False, first: int = 1) -> str:
    """Return the output for a training of 3 epochs of 2 steps, which starts with epoch `first`."""
    now = iter(range(0, 1000, 50))
    terminal = isinstance(file, Terminal)
    out = Console(file=file, force_terminal=terminal, width=120, color_system=None)
    with TrainingProgress(out, quiet, clock=lambda: float(next(now))) as progress:
        progress.note("Training [digits].")
        progress.reading(2, 9)
        progress.ready(3)
        progress.synthetic_images(10, 40)
        for epoch in range(first, 4):
            progress.step(epoch, 1, 2)
            progress.step(epoch, 2, 2)
            progress.epoch(Epoch(epoch, 0.5, 0.99 + LOSSES[epoch] / 10, LOSSES[epoch], 5.0))
            progress.refresh()
    return file.getvalue()


def test_without_a_terminal_each_epoch_is_a_line_with_the_remaining_time() -> None:
    assert shown(io.StringIO()).splitlines() == [
        "Training [digits].",
        "Up to 3 epochs; Ctrl-C keeps the best so far.",
        "epoch 1/3  loss 0.5000, validation loss 0.0300, validation accuracy 99.30%  5.0 s, 1 min 40 s left",
        "epoch 2/3  loss 0.5000, validation loss 0.0100, validation accuracy 99.10%  5.0 s, 50 s left",
        "epoch 3/3  loss 0.5000, validation loss 0.0200, validation accuracy 99.20%  5.0 s",
    ]


def test_a_resumed_training_estimates_the_time_of_the_remaining_epochs_only() -> None:
    assert shown(io.StringIO(), first=2).splitlines()[2] == (
        "epoch 2/3  loss 0.5000, validation loss 0.0100, validation accuracy 99.10%  5.0 s, 50 s left"
    )


@pytest.mark.parametrize("force", ["", "1"])
def test_force_color_does_not_make_a_file_a_terminal(force: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", force)
    assert len(shown(io.StringIO()).splitlines()) == 5


def test_a_terminal_shows_one_bar_with_figures_below_it_and_no_lines_for_epochs() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(Terminal()))
    assert "Up to 3 epochs; Ctrl-C keeps the best so far." in text
    assert re.search(r"epoch 3 of 3 ", text)
    assert "50 s left" in text
    assert "validation accuracy 99.20%; best so far: 99.10% in epoch 2" in text
    assert "epoch 1/3" not in text


def test_a_resumed_training_shows_no_best_epoch() -> None:
    assert "best so far:" not in shown(Terminal(), first=2)


def test_quiet_shows_nothing() -> None:
    assert shown(Terminal(), quiet=True) == ""
    assert shown(io.StringIO(), quiet=True) == ""
