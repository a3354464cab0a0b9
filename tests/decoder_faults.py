"""Images that make the decoder do what a damaged one might: end its process, or never come back.

`install` puts a `sitecustomize.py` into a folder for a worker's PYTHONPATH; its processes then have a decoder that
obeys the text `fault:…;` in an image; `image` makes such an image.
"""

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

_SITECUSTOMIZE = """
import os, signal, time
import PIL.Image

really = PIL.Image.open


def obey(fault):
    what, _, value = fault.partition("=")
    if what == "signal":
        os.kill(os.getpid(), getattr(signal, value))
    elif what == "exit":
        os._exit(int(value))
    elif what == "sleep":
        time.sleep(float(value))
    elif what == "once":
        try:
            os.mkdir(value)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        raise ValueError(fault)


def open_(file, *args, **kwargs):
    _, found, rest = file.getvalue().partition(b"fault:")
    if found:
        obey(rest.partition(b";")[0].decode())
    return really(file, *args, **kwargs)


PIL.Image.open = open_
"""


def install(folder: Path) -> str:
    """Write the decoder's faults into a folder; gives what a worker's PYTHONPATH should be."""
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return str(folder)


def image(original: Path, fault: str) -> bytes:
    """Give a sound PNG that looks like the original and carries a fault.

    Args:
        original: any image file.
        fault: `signal=SIGSEGV`, `exit=7`, `sleep=0.3` (seconds), or `once=FOLDER` (SIGKILL, unless that folder exists).
    """
    text = PngInfo()
    text.add_text("Comment", f"fault:{fault};")
    file = io.BytesIO()
    with Image.open(original) as picture:
        picture.save(file, "PNG", pnginfo=text)
    return file.getvalue()
