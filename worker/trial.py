"""Reads one image in a process of its own: for an image that was in hand when a process died.

That death may have been the image's doing, or the kernel's, or a person's. Only where a process that does nothing but
read this image dies of it, and once more, is it to blame; whoever else is killed meanwhile.

    echo REFERENCE | python -m worker.trial ROOT PREPROCESSING MAX_BYTES MAX_PIXELS
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from training.preprocess import Preprocessing
from worker.contract.errors import ImageUnreadable
from worker.images import ImageReader

#: So often a process must die of an image until that is believed.
DEATHS = 2


@dataclass(frozen=True)
class Trial:
    """How images are tried.

    Args:
        reader: as the worker has it.
        seconds: after which reading an image is given up.
    """

    reader: ImageReader
    seconds: float

    def verdict(self, reference: str) -> tuple[str, str] | None:
        """Read an image in a process of its own.

        Args:
            reference: its path, relative to the root.

        Returns:
            None where the process lives: whatever is wrong with the image otherwise, it may be read. Else the (kind,
            message) of its error row.
        """
        reader = self.reader
        command = [sys.executable, "-P", "-m", "worker.trial", reader.root, json.dumps(reader.preprocessing.to_json())]
        command += [str(reader.max_bytes), str(reader.max_pixels)]
        for _ in range(DEATHS):
            try:
                code = subprocess.run(
                    command, input=os.fsencode(reference), timeout=self.seconds, capture_output=True, check=False
                ).returncode
            except subprocess.TimeoutExpired:
                return "timeout", f"reading it took longer than {self.seconds:.0f} s"
            if code == 0:
                return None
        return "crashed", f"reading it ends the process that does ({_said(code)})"


def _said(code: int) -> str:
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"


def main() -> None:
    """Read the image, whose reference is on standard input; whatever goes wrong and can be caught is no death."""
    root, preprocessing, max_bytes, max_pixels = sys.argv[1:]
    reader = ImageReader(root, Preprocessing.from_json(json.loads(preprocessing)), int(max_bytes), int(max_pixels))
    try:
        reader.pixels(os.fsdecode(sys.stdin.buffer.read()))
    except ImageUnreadable:
        return  # the worker will find the same, and say so in the image's row


if __name__ == "__main__":
    main()
