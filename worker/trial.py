"""Isolation runs: a quarantined image is tried in a process of its own.

That death may have been the image's doing, or the kernel's, or a person's. Only where process after process that does
nothing but this one image dies of it is the image to blame.

`python -m worker.trial` takes what it needs as JSON on standard input, and says on standard output how far it came.
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

#: Seconds before each attempt. This many processes must die of an image until that is believed, since SIGKILL may come
#: from outside: whatever ends processes there has this time to pass.
PAUSES = (0.0, 0.1, 0.2, 0.5, 1.0)
#: Deaths that suffice if the process brings them on itself: by one of these signals, or by an exit.
OWN_DEATHS = 2
_OWN = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP),
}
#: All attempts together may take this many times what one image may: less than the task's whole limit, thrice that.
_IN_ALL = 2.4

#: The settings by which a model is loaded.
_NETWORK = ("model", "runtime", "precision", "device")

#: What the process says: what it does next with the image, or that it has outlived it. Before, its end says nothing.
_READS, _RUNS, _LIVES = "reads", "runs", "lives"
_DOES = {
    _READS: ("reading it ends the process that does", "reading it"),
    _RUNS: ("the network ends the process that runs it on this image", "running the network on it"),
}


class NotHeld(Exception):
    """Raised when no trial could be held: there is no memory for its process, say. The image may be sound or not."""


@dataclass(frozen=True)
class Trial:
    """How images are tried. Trials belong on the main thread, with which their processes end (`end_with`).

    Args:
        reader: as the worker has it.
        seconds: after which an image is given up.
        settings: the worker's; for trials with the network.
    """

    reader: ImageReader
    seconds: float
    settings: Settings

    def verdict(self, location: Location, network: bool = False) -> tuple[str, str] | None:
        """Try an image, as often as it takes.

        Args:
            location: of the image.
            network: run the network on it as well; loading it takes seconds.

        Returns:
            None where the process lives: whatever is wrong with the image otherwise, it may be classified. Else the
            (kind, message) of its error row.

        Raises:
            NotHeld: that can't be said.
        """
        over = time.monotonic() + _IN_ALL * self.seconds
        deaths = own = 0
        for pause in PAUSES:
            time.sleep(pause)
            end = self._attempt(location, network, over - time.monotonic())
            if end.did == _LIVES:
                return None
            if end.did not in _DOES:
                continue
            ends, doing = _DOES[end.did]
            if end.code == -signal.SIGALRM:
                return ErrorKind.TIMEOUT, f"{doing} took longer than {self.seconds:.0f} s"
            deaths += 1
            own += end.code >= 0 or -end.code in _OWN
            if own == OWN_DEATHS or deaths == len(PAUSES):
                return ErrorKind.CRASHED, f"{ends} ({_said(end.code)})"
        raise NotHeld(f"{len(PAUSES) - deaths} of {len(PAUSES)} processes ended before they began: {end.complaint}")

    def _attempt(self, location: Location, network: bool, timeout: float) -> "_End":
        """Start the process once."""
        reader = self.reader
        request = {
            "parent": os.getpid(),
            "reader": [reader.root, reader.preprocessing.to_json(), reader.max_bytes, reader.max_pixels],
            "network": {name: getattr(self.settings, name) for name in _NETWORK} if network else None,
            "seconds": self.seconds,
            "location": location,
        }
        command = [sys.executable, "-P", "-m", "worker.trial"]
        try:
            run = subprocess.run(
                command, input=json.dumps(request).encode(), timeout=timeout, capture_output=True, check=False
            )
        except subprocess.TimeoutExpired as exc:  # it is slow to start, or somebody stopped it
            raise NotHeld(f"a process did not come to an end within {timeout:.0f} s") from exc
        except (OSError, MemoryError) as exc:
            return _End("", 0, f"{type(exc).__name__}: {exc}")
        lines, complaints = (text.decode(errors="replace").split("\n") for text in (run.stdout, run.stderr))
        # A library may write there as well.
        did = next((line for line in reversed(lines) if line in (*_DOES, _LIVES)), "")
        complaint = next((line for line in reversed(complaints) if line), "it said nothing")
        return _End(did, run.returncode, f"{_said(run.returncode)}, {complaint}")


class _End(NamedTuple):
    """How a process ended: what it did last, its exit code, and what to say of it where it had not begun."""

    did: str
    code: int
    complaint: str


def _said(code: int) -> str:
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"


def _say(what: str) -> None:
    os.write(1, f"{what}\n".encode())  # at once: nothing may stay in a buffer when the process dies


def main() -> None:
    """Try the image; whatever goes wrong and can be caught is no death."""
    request = json.loads(sys.stdin.buffer.read())
    end_with(request["parent"])  # or a decoder that hangs would outlive a worker that is killed
    root, preprocessing, max_bytes, max_pixels = request["reader"]
    reader = ImageReader(root, Preprocessing.from_json(preprocessing), max_bytes, max_pixels)
    classifier = None
    if request["network"]:
        settings = Settings(**request["network"])
        classifier = Classifier.load(checkpoints.find(settings.model), settings)
    # From here, whatever the loading took. Python can't act on a signal while a decoder runs; the kernel ends it.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    with suppress(Exception):  # the worker will find the same, and say so in the image's row
        _say(_READS)
        scheme, root, path, place = request["location"]
        pixels = reader.pixels(Location(scheme, root, path, tuple(place)))
        if classifier is not None:
            _say(_RUNS)
            classifier.predict(pixels[np.newaxis])
    _say(_LIVES)


if __name__ == "__main__":
    main()
