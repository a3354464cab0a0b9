"""The progress of a training: two live lines on a terminal, elsewhere a line for each epoch."""

import time
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from pigeonhole.text import counted
from training.loop.epochs import Epoch
from training.loop.train import Watcher


class TrainingProgress(Progress, Watcher):
    """Shows a bar and the measures below it on a terminal, elsewhere lines; a context manager that removes the bar.

    Args:
        console: Console to print on.
        quiet: Whether nothing is printed.
        clock: Function that returns the time in seconds; tests replace it.
    """

    def __init__(self, console: Console, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet, self._clock = quiet, clock
        self._number_of_epochs = 0
        self._first_step: tuple[float, int] | None = None  # time of the first step, and number of epochs before it
        self._done: list[Epoch] = []
        # Rich takes any file for a terminal if FORCE_COLOR is set.
        terminal = console.is_interactive and console.file.isatty()
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[left]}"),
            console=console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            disable=quiet or not terminal,
            expand=True,
        )
        self._bar = self.add_task("reading the images", total=None, left="")

    def note(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def reading(self, done: int, total: int) -> None:
        """Show the number of files read."""
        self.update(self._bar, total=total, completed=done, left=f"{done:,} of {total:,}")

    def ready(self, epochs: int) -> None:
        """Store the number of epochs, and print it."""
        self._number_of_epochs = epochs
        self.note(f"Up to {counted(epochs, 'epoch')}; Ctrl-C keeps the best so far.")

    def synthetic_images(self, done: int, total: int) -> None:
        """Show the number of synthetic images made."""
        self.update(
            self._bar, total=total, completed=done, description="making synthetic images", left=f"{done:,} of {total:,}"
        )

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Show the number of steps done, of those of all epochs."""
        if self._first_step is None:
            self._first_step = self._clock(), epoch - 1
            self.reset(self._bar, total=self._number_of_epochs * steps, completed=(epoch - 1) * steps, left="")
        done = (epoch - 1) * steps + step
        self.update(self._bar, completed=done, description=f"epoch {epoch} of {self._number_of_epochs}")

    def epoch(self, done: Epoch) -> None:
        """Show the measures of an epoch, and the time left for the others."""
        self._done.append(done)
        left = self._left()
        self.update(self._bar, left=left)
        if self.disable:
            times = ", ".join(filter(None, (f"{done.seconds:.1f} s", left)))
            self.note(f"epoch {done.number}/{self._number_of_epochs}  {_measures(done)}  {times}")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar, and below it the measures of the last epoch and the best one."""
        yield from super().get_renderables()
        if self._done:
            text = _measures(self._done[-1])
            if self._first_step and not self._first_step[1]:  # a resumed training does not know the epochs before it
                best = min(self._done, key=lambda epoch: epoch.validation_loss)
                text += f"; best so far: {best.accuracy:.2%} in epoch {best.number}"
            yield Text(text, style="dim", no_wrap=True, overflow="ellipsis")

    def _left(self) -> str:
        """Return the time that the remaining epochs will take, in words; empty if there are none."""
        last = self._done[-1].number
        if self._first_step is None or last >= self._number_of_epochs:
            return ""
        began, before = self._first_step
        each = (self._clock() - began) / (last - before)
        return f"{duration(each * (self._number_of_epochs - last))} left"


def duration(seconds: float) -> str:
    """Return a length of time in words: `1 h 5 min`, `2 min 10 s`, `9 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _measures(done: Epoch) -> str:
    return f"loss {done.loss:.4f}, validation loss {done.validation_loss:.4f}, validation accuracy {done.accuracy:.2%}"
