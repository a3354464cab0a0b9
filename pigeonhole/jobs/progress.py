"""The progress of a job as one line on standard error, for Python programs and notebooks that ask for it."""

import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO, TypeVar

from pigeonhole.ledger.status import JobStatus
from pigeonhole.text import counted

#: Seconds between two writes of the line.
_EVERY = 0.1

T = TypeVar("T")


def done_text(status: JobStatus) -> str:
    """Return the numbers of done and of all images; `…` means that the total still grows."""
    return f"{status.done:,} of {status.images:,}{'…' if status.submitting else ''} images"


def findings_text(status: JobStatus) -> str:
    """Return the numbers of errors and of images to review."""
    return f"{counted(status.errors, 'error')}, {status.reviews:,} to review"


class ProgressLine:
    """A progress line, redrawn on a terminal or in a notebook; elsewhere only the last state is written.

    A context that was left by an exception may be entered again. After a normal exit the line shows nothing more.

    Args:
        stream: a text stream; None: the current `sys.stderr`, since notebooks replace it.
        clock: returns seconds of a monotonic clock.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._redraws = self._stream.isatty() or type(self._stream).__module__.startswith("ipykernel")
        self._text = ""
        self._shown = ""
        self._over = False
        self._next = clock()

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()
        if kind is None and not self._over:
            self._over = True
            self._write(f"{self._text}\n")

    def show(self, status: JobStatus) -> None:
        """Show a job's counters."""
        share = f" ({status.done / status.images:.0%})" if status.images and not status.submitting else ""
        self._text = f"{done_text(status)}{share}, {findings_text(status)}"
        if self._redraws and not self._over and self._text != self._shown and self._clock() >= self._next:
            self._next = self._clock() + _EVERY
            self._write(f"\r{self._text.ljust(len(self._shown))}")
            self._shown = self._text

    def clear(self) -> None:
        """Remove the line, so that the program can write there."""
        if self._shown:
            self._write(f"\r{' ' * len(self._shown)}\r")
            self._shown = ""

    def around(self, batches: Iterator[T]) -> Iterator[T]:
        """Yield the items of an iterator, and remove the line while the caller handles one."""
        with self:
            for batch in batches:
                self.clear()
                yield batch

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
