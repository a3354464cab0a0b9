"""What a terminal shows of a training: one bar for all of it, and a line for each epoch."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from training.loop.epochs import Epoch
from training.loop.train import Watcher


class TrainingProgress(Watcher):
    """A bar on a terminal; lines for notes and epochs anywhere.

    Args:
        console: Where.
        quiet: Nothing at all.
        clock: Seconds since some moment.
    """

    def __init__(self, console: Console, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet, self._epochs, self._clock = quiet, 0, clock
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._bar = self._progress.add_task("reading the data", total=None)
        self._begun: tuple[float, int] | None = None  # when the first epoch of this run began, and epochs before it

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Write a line."""
        if not self._quiet:
            self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def reading(self, done: int, total: int) -> None:
        """Move the bar, which is the data's until it is read."""
        self._progress.update(self._bar, total=total, completed=done)

    def ready(self, epochs: int) -> None:
        """Know how many epochs there will be."""
        self._epochs = epochs

    def variety(self, done: int, total: int) -> None:
        """Move the bar, which is the pool's until the epochs begin."""
        self._progress.update(self._bar, total=total, completed=done, description="making variety")

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Move the bar, which is that of all epochs."""
        if self._begun is None:
            self._begun = self._clock(), epoch - 1
            before = (epoch - 1) * steps
            self._progress.reset(self._bar, total=self._epochs * steps, completed=before)
        self._progress.update(
            self._bar, completed=(epoch - 1) * steps + step, description=f"epoch {epoch}/{self._epochs}"
        )

    def epoch(self, done: Epoch) -> None:
        """Write the epoch's line."""
        left = ""
        if self._begun is not None and done.number < self._epochs:
            began, before = self._begun
            each = (self._clock() - began) / (done.number - before)
            left = f", {_duration(each * (self._epochs - done.number))} left"
        self.note(
            f"epoch {done.number}/{self._epochs}  loss {done.loss:.4f}  validation {done.accuracy:.2%}, "
            f"nll {done.validation_loss:.4f}  {done.seconds:.1f} s{left}"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
