"""Isolation runs: a quarantined image is read, and perhaps classified, in a process of its own.

A worker loss may have been caused by an image, by the kernel or by a person. An image is to blame only if several
processes in a row end while they process nothing but this image.

`python -m worker.processing.isolation` reads its request as JSON from standard input, and writes its progress to
standard output.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pigeonhole.errors import ErrorKind
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.classifier import Classifier
from pigeonhole.processes import end_with
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Location

#: Seconds before each attempt. All of them must fail before an image is blamed for SIGKILL, which may come from
#: outside; the pauses give its cause time to pass.
PAUSES = (0.0, 0.1, 0.2, 0.5, 1.0)
#: Failed attempts that suffice if the process ended by itself: by one of these signals, or by an exit.
OWN_ENDS = 2
_OWN = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP),
}
#: The time limit of all attempts, as a multiple of that of one image. The time limit of a task is three times that.
_IN_ALL = 2.4

#: The settings that decide how a model is loaded.
_NETWORK = ("model", "runtime", "precision", "device")

#: The lines that the process writes: before it reads, before it runs the network, and when it is done. If it ends
#: before the first line, the image is not the cause.
_READS, _RUNS, _DONE = "reads", "runs", "done"
_STEPS = {
    _READS: ("reading it ends the process", "reading it"),
    _RUNS: ("running the network on it ends the process", "running the network on it"),
}


class IsolationUnavailable(Exception):
    """Raised when no isolation run was possible, for instance for lack of memory; the image may be valid or not."""


@dataclass(frozen=True)
class IsolationRun:
    """Tries images in processes of their own, which end with the calling thread (`end_with`): use the main thread.

    Args:
        reader: the worker's image reader.
        seconds: the time limit of one image.
        settings: the worker's, by which the network is loaded.
    """

    reader: ImageReader
    seconds: float
    settings: Settings

    def verdict(self, location: Location, network: bool = False) -> tuple[str, str] | None:
        """Try an image in process after process until one survives or the image is to blame.

        Args:
            location: the image's.
            network: run the network on it too; loading the network takes seconds.

        Returns:
            None if a process survived, so that the image may be classified even if it becomes an error row. Otherwise
            the (kind, message) of its error row.

        Raises:
            IsolationUnavailable: no process could be started, or it was too slow.
        """
        over = time.monotonic() + _IN_ALL * self.seconds
        failed = own = 0
        for pause in PAUSES:
            time.sleep(pause)
            end = self._attempt(location, network, over - time.monotonic())
            if end.step == _DONE:
                return None
            if end.step not in _STEPS:
                continue
            ends, doing = _STEPS[end.step]
            if end.code == -signal.SIGALRM:
                return ErrorKind.TIMEOUT, f"{doing} took longer than {self.seconds:.0f} s"
            failed += 1
            own += end.code >= 0 or -end.code in _OWN
            if own == OWN_ENDS or failed == len(PAUSES):
                return ErrorKind.CRASHED, f"{ends} ({_code_text(end.code)})"
        raise IsolationUnavailable(f"{len(PAUSES) - failed} of {len(PAUSES)} runs ended too early: {end.complaint}")

    def _attempt(self, location: Location, network: bool, timeout: float) -> "_End":
        """Start the process once and return how it ended."""
        reader = self.reader
        request = {
            "parent": os.getpid(),
            "reader": [reader.root, reader.preprocessing.to_json(), reader.max_bytes, reader.max_pixels],
            "network": {name: getattr(self.settings, name) for name in _NETWORK} if network else None,
            "seconds": self.seconds,
            "location": location,
        }
        command = [sys.executable, "-P", "-m", "worker.processing.isolation"]
        try:
            run = subprocess.run(
                command, input=json.dumps(request).encode(), timeout=timeout, capture_output=True, check=False
            )
        except subprocess.TimeoutExpired as exc:  # it is slow to start, or a person stopped it
            raise IsolationUnavailable(f"a process did not end within {timeout:.0f} s") from exc
        except (OSError, MemoryError) as exc:
            return _End("", 0, f"{type(exc).__name__}: {exc}")
        lines, complaints = (text.decode(errors="replace").split("\n") for text in (run.stdout, run.stderr))
        # A library may write to standard output too.
        step = next((line for line in reversed(lines) if line in (*_STEPS, _DONE)), "")
        complaint = next((line for line in reversed(complaints) if line), "it printed no error")
        return _End(step, run.returncode, f"{_code_text(run.returncode)}, {complaint}")


class _End(NamedTuple):
    """The end of a process: its last step, its exit code, and the reason if it ended before the first step."""

    step: str
    code: int
    complaint: str


def _code_text(code: int) -> str:
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"


def _report(step: str) -> None:
    os.write(1, f"{step}\n".encode())  # unbuffered: a buffer would be lost with the process


def main() -> None:
    """Try the image; an error that Python can catch counts as success."""
    request = json.loads(sys.stdin.buffer.read())
    end_with(request["parent"])  # or a decoder that hangs would outlive a killed worker
    root, preprocessing, max_bytes, max_pixels = request["reader"]
    reader = ImageReader(root, Preprocessing.from_json(preprocessing), max_bytes, max_pixels)
    classifier = None
    if request["network"]:
        settings = Settings(**request["network"])
        classifier = Classifier.load(checkpoints.find(settings.model), settings)
    # The timer starts after loading. The kernel must end the process: Python handles no signal while a decoder runs.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    with suppress(Exception):  # the worker will meet the same error and write it into the image's row
        _report(_READS)
        scheme, root, path, place = request["location"]
        pixels = reader.pixels(Location(scheme, root, path, tuple(place)))
        if classifier is not None:
            _report(_RUNS)
            classifier.predict(pixels[np.newaxis])
    _report(_DONE)


if __name__ == "__main__":
    main()
