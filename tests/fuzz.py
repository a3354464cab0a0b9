"""`make fuzz`: classify thousands of damaged image files with real workers.

The same seed results in the same files. They go through the embedded `pigeonhole classify`, and so does the same number
of valid files. Every file must have a row, no worker process may be lost, and neither the command nor the workers may
print messages about single files. The table at the end compares memory and time.
"""

import argparse
import csv
import os
import platform
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageDraw

from benchmarks.common.memory import peak
from pigeonhole.errors import ImageError
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Location
from tests.hostile import encoded

TOP = Path(__file__).resolve().parent.parent
SAMPLES = TOP / "samples"
#: Sides of the valid images, in pixels; small, so that the damage is often in a header.
SIDES = (28, 28, 97, 640)
FORMS: dict[str, dict[str, dict[str, object]]] = {
    "PNG": {mode: {} for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16")},
    "JPEG": {"L": {}, "RGB": {"progressive": True}, "CMYK": {"quality": 50}},
    "GIF": {"P": {}, "L": {"interlace": 0}},
    "TIFF": {
        **{mode: {} for mode in ("1", "CMYK", "F", "LAB")},
        **{mode: {"compression": "tiff_lzw"} for mode in ("L", "I;16")},
        **{"RGB": {"compression": "jpeg"}, "RGBA": {"compression": "tiff_adobe_deflate"}},
    },
    "BMP": {mode: {} for mode in ("1", "L", "P", "RGB", "RGBA")},
    "WEBP": {"RGB": {}, "RGBA": {"lossless": True}},
}
#: Seconds between two measurements of the workers' memory.
MEASURE_EVERY = 0.1


class Sound(NamedTuple):
    """An image file: its name and content."""

    name: str
    data: bytes


class Run(NamedTuple):
    """The result of classifying one folder.

    Args:
        rows: the rows that the command wrote.
        output: the lines of the command on standard error, and of the workers in their log.
        processes: the number of worker processes that ever existed.
        peak: the largest peak of memory of a worker process, in MB.
        seconds: the time of the command.
    """

    rows: list[dict[str, str]]
    output: list[str]
    processes: int
    peak: int
    seconds: float


def sound_files() -> list[Sound]:
    """Return drawn pictures in each format, mode and size, with EXIF data if possible, and the shipped samples."""
    made = []
    for form, modes in FORMS.items():
        for mode, options in modes.items():
            for number, side in enumerate(SIDES):
                exif = Image.Exif()
                exif[0x0112] = 1 + number
                more = {} if form in ("GIF", "BMP") or number % 2 else {"exif": exif}
                name = f"{mode.replace(';', '')}-{side}.{form.lower()}"
                made.append(Sound(name, encoded(_picture(mode, side), form, **options, **more)))
    for file in sorted(SAMPLES.iterdir())[:50]:
        if (file.name not in ("empty.png", "text.png")) and "truncated" not in file.name:
            made.append(Sound(f"sample-{file.name}", file.read_bytes()))
    return made


def _picture(mode: str, side: int) -> Image.Image:
    page = Image.linear_gradient("L").resize((side, side))
    ImageDraw.Draw(page).line((side // 3, side // 5, side // 2, side - side // 5), fill=0, width=1 + side // 12)
    if mode == "I;16":
        return Image.fromarray(np.asarray(page).astype(np.uint16) * 257)
    if mode == "LAB":
        flat = Image.new("L", page.size, 128)
        return Image.merge("LAB", (page, flat, flat))
    return page.convert("RGB").convert(mode) if mode in ("CMYK", "P") else page.convert(mode)


def _flip_bits(data: bytearray, rng: random.Random, _other: bytes) -> None:
    # Half of the damage is in the first 100 bytes, the headers; damaged pixels are rarely a problem.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 100)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(reach)] ^= 1 << rng.randrange(8)


def _truncate(data: bytearray, rng: random.Random, _other: bytes) -> None:
    del data[rng.randrange(len(data)) :]


def _splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    start = rng.randrange(len(other))
    piece = other[start : start + rng.choice((4, 16, 256, 4096))]
    at = rng.randrange(len(data))
    data[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece


def _set_number(data: bytearray, rng: random.Random, _other: bytes) -> None:
    """Write a number that is extreme for a length, a size or an offset."""
    number = rng.choice((0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32)))
    at = rng.randrange(min(len(data), 200))
    code = rng.choice(("<H", ">H", "<I", ">I"))
    data[at : at + struct.calcsize(code)] = struct.pack(code, number & (0xFFFF if code[1] == "H" else 0xFFFFFFFF))


def _repeat(data: bytearray, rng: random.Random, _other: bytes) -> None:
    start = rng.randrange(len(data))
    piece = bytes(data[start : start + rng.randrange(1, 64)])
    data[start:start] = piece * rng.randrange(1, 2000)


DAMAGES: dict[str, Callable[[bytearray, random.Random, bytes], None]] = {
    "flip": _flip_bits,
    "truncate": _truncate,
    "splice": _splice,
    "number": _set_number,
    "repeat": _repeat,
}


def damaged_files(seed: int, count: int) -> Iterator[Sound]:
    """Yield `count` files, the same for each seed; names contain the kind of damage; some are damaged twice."""
    sound = sound_files()
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        base = sound[number % len(sound)]
        data, done = bytearray(base.data), []
        for _ in range(rng.choice((1, 1, 2))):
            damage = rng.choice(list(DAMAGES))
            if data:
                DAMAGES[damage](data, rng, rng.choice(sound).data)
                done.append(damage)
        if base.name.endswith("png") and rng.random() < 0.5:
            _mend_checksums(data)
        yield Sound(f"{number:06}-{'-'.join(done)}-{base.name}", bytes(data))


def _mend_checksums(data: bytearray) -> None:
    """Correct the checksum of every chunk; otherwise all damage in a PNG is found by its checksums."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            return
        struct.pack_into(">I", data, at + 8 + length, zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length


def write(files: Iterator[Sound], folder: Path) -> int:
    """Write files into a folder, a thousand per sub-folder; return their number."""
    count = 0
    for count, (name, data) in enumerate(files, 1):
        part = folder / f"{count // 1000:04}"
        part.mkdir(parents=True, exist_ok=True)
        (part / name).write_bytes(data)
    return count


def classify(folder: Path) -> Run:
    """Run the embedded `pigeonhole classify` on a folder, and measure its workers at the same time."""
    rows, started = folder.with_suffix(".csv"), time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        line = [sys.executable, "-m", "pigeonhole", "classify", folder.name, "-o", rows.name, "--quiet"]
        # The command removes its temporary folder with the workers' log at its end, so the log is opened before.
        environment = os.environ | {"TMPDIR": place}
        command = subprocess.Popen(line, cwd=folder.parent, env=environment, stderr=subprocess.PIPE)
        log, peaks = None, dict[int, int]()
        while command.poll() is None:
            if log is None and (found := next(Path(place).glob("*/worker.log"), None)):
                log = found.open(encoding="utf-8", errors="replace")
            peaks |= {pid: peak(pid) // 1_000_000 for pid in _worker_processes(command.pid)}
            time.sleep(MEASURE_EVERY)
        assert command.stderr is not None  # for the type checker: it is a pipe
        output = [line.decode() for line in command.stderr] + (
            list(log) if log is not None else ["the log of the workers is missing"]
        )
    with rows.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return Run(list(csv.DictReader(file)), output, len(peaks), max(peaks.values()), time.monotonic() - started)


def _worker_processes(command: int) -> list[int]:
    """Return the ids of the command's descendants that classify: the children of the embedded worker."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                names[int(entry.name)] = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    family, size = {command}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return [
        pid
        for pid in family
        if b"spawn_main" in names.get(pid, b"") and b"embedded_worker" in names.get(parents[pid], b"")
    ]


def time_each(folder: Path) -> list[float]:
    """Return the seconds to read and decode each file of a folder, as a worker does it, in ascending order."""
    settings = Settings()
    preprocessing = checkpoints.describe(checkpoints.find(settings.model)).preprocessing
    reader = ImageReader("/", preprocessing, settings.max_bytes, settings.max_pixels)
    seconds = []
    for file in sorted(folder.rglob("*.*")):
        started = time.perf_counter()
        with suppress(ImageError):  # an error must not take longer than an image
            reader.pixels(Location("file", "", str(file.absolute())[1:]))
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)


def faults_of(run: Run, count: int, processes: int) -> list[str]:
    """Return the faults of a run, in words; none if all is well."""
    paths = Counter(row["path"] for row in run.rows)
    faults = [f"{len(paths)} of {count} files have a row"] if len(paths) != count else []
    faults += [f"{times} rows for {path}" for path, times in paths.items() if times > 1]
    faults += [
        f"{row['path']}: neither a label nor an error" for row in run.rows if not row["label"] and not row["error"]
    ]
    faults += [
        f"{row['path']}: {row['error']}"
        for row in run.rows
        if row["error"].partition(":")[0] in ("internal", "crashed")
    ]
    faults += [f"{run.processes} worker processes in place of {processes}"] if run.processes != processes else []
    return faults


def main() -> int:
    """Write the files, classify them, and print the results; return exit code 1 if there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--keep", type=Path, help="a folder to keep the files in")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp())
    try:
        return _compare(folder, arguments.seed, arguments.count)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder)


def _compare(folder: Path, seed: int, count: int) -> int:
    sound = sound_files()
    write(damaged_files(seed, count), folder / "damaged")
    write(
        (Sound(f"{at:06}-{sound[at % len(sound)].name}", sound[at % len(sound)].data) for at in range(count)),
        folder / "sound",
    )
    processes = len(os.sched_getaffinity(0))
    print(f"{platform.platform()}, Python {platform.python_version()}, Pillow {PIL.__version__}, seed {seed}\n")
    print("| files | rows | labels | errors | peak of a worker | median | 99 % | longest | in all |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
    faults, usual = list[str](), set[str]()
    for name in ("sound", "damaged"):
        run, seconds = classify(folder / name), time_each(folder / name)
        faults += faults_of(run, count, processes)
        faults += [f"printed: {line.rstrip()}" for line in run.output if usual and line not in usual]
        usual = {"", *run.output}  # such as Celery's warning about workers of root
        labels = sum(bool(row["label"]) for row in run.rows)
        milliseconds = [
            1000 * at for at in (statistics.median(seconds), seconds[len(seconds) * 99 // 100], seconds[-1])
        ]
        print(
            f"| {count:,} {name} | {len(run.rows):,} | {labels:,} | {len(run.rows) - labels:,} | {run.peak} MB |"
            f" {milliseconds[0]:.2f} ms | {milliseconds[1]:.1f} ms | {milliseconds[2]:.0f} ms | {run.seconds:.0f} s |"
        )
    kinds = Counter(row["error"].partition(":")[0] for row in run.rows if row["error"])
    print("\nerrors:", ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common()))
    print("faults:", len(faults))
    for fault in faults[:50]:
        print("  " + fault)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
