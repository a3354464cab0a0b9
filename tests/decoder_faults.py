"""Inject faults into the decoder or the network with special images: crash the process, hang, or raise.

`install` writes a `sitecustomize.py` into a folder for a worker's PYTHONPATH. The decoder of its processes then
executes the text `fault:…;` in an image. `image` returns such an image.
"""

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

_SITECUSTOMIZE = """
import os, signal, sys, time
sys.modules["pyspng"] = None  # Pillow decodes all images
import PIL.Image

original = PIL.Image.open


def obey(fault):
    what, _, value = fault.partition("=")
    if what == "signal":
        os.kill(os.getpid(), getattr(signal, value))
    elif what == "exit":
        os._exit(int(value))
    elif what == "sleep":
        time.sleep(float(value))
    elif what == "killed":
        times, _, folder = value.partition(",")
        os.makedirs(folder, exist_ok=True)
        if len(os.listdir(folder)) < int(times):
            os.mkdir(os.path.join(folder, str(os.getpid())))
            os.kill(os.getpid(), signal.SIGKILL)
    elif what == "network":
        from pigeonhole.models.classifier import Classifier

        # Images that are read ahead belong to the same batch, so no other batch is affected.
        Classifier.predict = lambda *_: obey(value.replace(":", "="))
    elif what == "raise":
        raise KeyError(value)
    else:
        raise ValueError(fault)


def open_(file, *args, **kwargs):
    _, found, rest = file.getvalue().partition(b"fault:")
    if found:
        obey(rest.partition(b";")[0].decode())
    return original(file, *args, **kwargs)


PIL.Image.open = open_
"""


def install(folder: Path) -> str:
    """Write the module that injects faults into a folder; return the value of a worker's PYTHONPATH."""
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return str(folder)


def slow(folder: Path, seconds: float = 0.001) -> str:
    """Slow down the reading of each image, so that a job can be interrupted; return the value of PYTHONPATH."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        "import sys, time\nfrom pigeonhole.imaging.reader import ImageReader\n\n"
        # Python only warns of other errors than SystemExit in this module, and images would not be slow.
        "original = getattr(ImageReader, 'read', None) or sys.exit('ImageReader.read has another name')\n\n\n"
        f"def read(*arguments):\n    time.sleep({seconds})\n    return original(*arguments)\n\n\n"
        "ImageReader.read = read\n"
    )
    return str(folder)


def image(original: Path, fault: str) -> bytes:
    """Return a valid PNG that looks like the original, and injects a fault.

    Args:
        original: any image file.
        fault: `signal=SIGSEGV`, `exit=7`, `raise=WORDS`, `sleep=0.3` (seconds), or `killed=4,FOLDER` (SIGKILL for the
            first 4 times, counted in that folder); `network=signal:SIGKILL` injects the fault into the network.
    """
    text = PngInfo()
    text.add_text("Comment", f"fault:{fault};")
    file = io.BytesIO()
    with Image.open(original) as picture:
        picture.save(file, "PNG", pnginfo=text)
    return file.getvalue()
