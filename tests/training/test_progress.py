import io
import re

from rich.console import Console

from training.loop.epochs import Epoch
from training.progress import TrainingProgress


def shown(terminal: bool, quiet: bool = False, first: int = 1) -> str:
    """What a training of 3 epochs of 2 steps, from the `first` on, shows."""
    now = iter(range(0, 1000, 50))
    out = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
    with TrainingProgress(out, quiet, clock=lambda: float(next(now))) as progress:
        progress.note("Training [digits].")
        progress.reading(2, 9)
        progress.ready(3)
        progress.variety(10, 40)
        for epoch in range(first, 4):
            progress.step(epoch, 1, 2)
            progress.step(epoch, 2, 2)
            progress.epoch(Epoch(epoch, 0.5, 0.9912, 0.0312, 5.0))
    return str(out.file.getvalue())  # type: ignore[attr-defined]


def test_without_a_terminal_each_epoch_is_a_line_with_the_time_left_for_all_of_them() -> None:
    assert shown(terminal=False).splitlines() == [
        "Training [digits].",
        "epoch 1/3  loss 0.5000  validation 99.12%, nll 0.0312  5.0 s, 1 min 40 s left",
        "epoch 2/3  loss 0.5000  validation 99.12%, nll 0.0312  5.0 s, 50 s left",
        "epoch 3/3  loss 0.5000  validation 99.12%, nll 0.0312  5.0 s",
    ]


def test_who_goes_on_counts_only_what_is_still_to_do() -> None:
    assert shown(terminal=False, first=2).splitlines()[1] == (
        "epoch 2/3  loss 0.5000  validation 99.12%, nll 0.0312  5.0 s, 50 s left"
    )


def test_a_terminal_has_one_bar_for_the_pool_and_then_one_for_all_epochs() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(terminal=True))
    assert re.search(r"epoch 3/3 .* 100%", text)
    assert text.count("nll 0.0312") == 3


def test_quiet_shows_nothing() -> None:
    assert shown(terminal=True, quiet=True) == ""
    assert shown(terminal=False, quiet=True) == ""
