"""Progress of a training: one bar on a terminal, and a line for each epoch."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from training.loop.epochs import Epoch
from training.loop.train import Watcher


class TrainingProgress(Watcher):
    """A bar on a terminal; lines for notes and epochs everywhere; a context manager that removes the bar.

    Args:
        console: Print there.
        quiet: Print nothing.
        clock: Return the time in seconds; tests replace it.
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
            disable=quiet or not console.is_interactive,
        )
        self._bar = self._progress.add_task("reading the data", total=None)
        self._begun: tuple[float, int] | None = None  # time of the first step, and number of epochs before it

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def reading(self, done: int, total: int) -> None:
        """Show the number of files read."""
        self._progress.update(self._bar, total=total, completed=done)

    def ready(self, epochs: int) -> None:
        """Store the number of epochs."""
        self._epochs = epochs

    def variety(self, done: int, total: int) -> None:
        """Show the number of synthetic images made."""
        self._progress.update(self._bar, total=total, completed=done, description="making variety")

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Show the number of steps done, of those of all epochs."""
        if self._begun is None:
            self._begun = self._clock(), epoch - 1
            before = (epoch - 1) * steps
            self._progress.reset(self._bar, total=self._epochs * steps, completed=before)
        self._progress.update(
            self._bar, completed=(epoch - 1) * steps + step, description=f"epoch {epoch}/{self._epochs}"
        )

    def epoch(self, done: Epoch) -> None:
        """Print a line with the measures of an epoch, and the time left for the others."""
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
