"""`make worst-images`: measure the memory and time of the most expensive images within the limits.

Each image is read twice, in separate processes: for digits of 28 x 28, and for a colour network of 224 x 224. The
output is the tables of docs/guide/bad-input.md. The peak is the kernel's high-water mark of resident memory above the
memory before, including the file's own bytes.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import PIL
from PIL import Image

from pigeonhole.errors import ImageError
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.settings import Settings
from tests.hostile import HOSTILE, encoded, png

SETTINGS = Settings()
#: Pixels per side: with 79,210,000 pixels nearly the largest square within the pixel limit.
SIDE = 8_900
#: Bytes of hostile files that repeat something, not far below PIGEONHOLE_MAX_BYTES.
SIZE = 200_000_000
KINDS = {"digit": Preprocessing("digit", 28, 28, 1), "colour": Preprocessing("stretch", 224, 224, 3)}
TIMEOUT = 300


def _page(mode: str) -> Image.Image:
    return Image.new(mode, (SIDE, SIDE))


def _turned(form: str, mode: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    return encoded(_page(mode), form, exif=exif)


#: A normal image near the pixel limit, for each format and mode with its own code path.
LARGEST: dict[str, Callable[[], bytes]] = {
    "PNG, grey": lambda: png(SIDE, SIDE),
    "PNG, grey, 16 bits": lambda: png(SIDE, SIDE, 16),
    "PNG, palette with transparency": lambda: encoded(_page("P"), "PNG", transparency=0),
    "PNG, RGB": lambda: png(SIDE, SIDE, 8, 2),
    "PNG, RGBA": lambda: png(SIDE, SIDE, 8, 6),
    "PNG, RGBA, 16 bits": lambda: png(SIDE, SIDE, 16, 6),
    "PNG, RGB, on its side": lambda: _turned("PNG", "RGB"),
    "JPEG, RGB": lambda: encoded(_page("RGB"), "JPEG"),
    "JPEG, RGB, progressive": lambda: encoded(_page("RGB"), "JPEG", progressive=True, subsampling=0),
    "JPEG, CMYK": lambda: encoded(_page("CMYK"), "JPEG"),
    "TIFF, RGB, deflate": lambda: encoded(_page("RGB"), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, CMYK, deflate": lambda: encoded(_page("CMYK"), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, floats, deflate": lambda: encoded(_page("F"), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, RGB, JPEG": lambda: encoded(_page("RGB"), "TIFF", compression="jpeg"),
    "TIFF, LAB, deflate": lambda: encoded(_page("LAB"), "TIFF", compression="tiff_adobe_deflate"),
    "BMP, RGB": lambda: encoded(_page("RGB"), "BMP"),
    "GIF, transparent": lambda: encoded(_page("P"), "GIF", transparency=0),
    "WebP, RGB": lambda: encoded(_page("RGB"), "WEBP", method=0),
    "WebP, RGBA, lossless": lambda: encoded(_page("RGBA"), "WEBP", method=0, lossless=True),
    "AVIF, RGB": lambda: encoded(_page("RGB"), "AVIF", speed=10),
    "AVIF, RGBA": lambda: encoded(_page("RGBA"), "AVIF", speed=10),
    "JPEG 2000, grey": lambda: encoded(_page("L"), "JPEG2000"),
    "JPEG 2000, RGB": lambda: encoded(_page("RGB"), "JPEG2000"),
    "JPEG 2000, RGBA": lambda: encoded(_page("RGBA"), "JPEG2000"),
}


def main() -> None:
    """Measure every image in child processes; or, in a child process, measure the image of `--file`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--file", type=Path, help="read only this file, and print its cost")
    parser.add_argument("--kind", choices=KINDS, default="digit")
    arguments = parser.parse_args()
    if arguments.file is not None:
        print(_cost(arguments.file, KINDS[arguments.kind]))
        return
    print(f"{platform.platform()}, Python {platform.python_version()}, Pillow {PIL.__version__}\n")
    _table("image of 79 megapixels", LARGEST)
    _table("file", {what: partial(hostile.make, SIZE) for what, hostile in HOSTILE.items()})


def _table(title: str, files: dict[str, Callable[[], bytes]]) -> None:
    print(f"| {title} | bytes | digits: peak, time | colour: peak, time | outcome |\n| --- | --: | --: | --: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image")
        for what, make in files.items():
            path.write_bytes(make())
            costs = []
            for kind in KINDS:
                line = [sys.executable, "-m", "benchmarks.studies.worst_images", "--file", str(path), "--kind", kind]
                run = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, check=False)
                costs.append(run.stdout.strip() if run.returncode == 0 else f"0 lost {run.returncode}")
            (digit, seconds, _), (colour, longer, outcome) = (cost.split(" ", 2) for cost in costs)
            size = f"{path.stat().st_size:,}"
            print(f"| {what} | {size} | {digit} MB, {seconds} s | {colour} MB, {longer} s | {outcome} |", flush=True)
    print()


def _cost(path: Path, preprocessing: Preprocessing) -> str:
    prepare(png(16, 16), Preprocessing("stretch", 16, 16, 1), 256)  # first, to import modules
    Path("/proc/self/clear_refs").write_text("5")  # reset the high-water mark
    before, started = _status("VmRSS"), time.perf_counter()
    try:
        prepare(path.read_bytes(), preprocessing, SETTINGS.max_pixels)
        outcome = "read"
    except ImageError as exc:
        # The image has one colour, so it is blank; this is found only at the end, after all of the work.
        outcome = "read" if exc.kind == "blank" else exc.kind
    return f"{_status('VmHWM') - before} {time.perf_counter() - started:.2f} {outcome}"


def _status(name: str) -> int:
    """Return a value of this process's status in /proc, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 // 1_000_000
    raise SystemExit("this needs Linux: it reads /proc/self/status")


if __name__ == "__main__":
    main()
