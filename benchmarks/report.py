"""Measure the sections, print each, and write docs/benchmarks.md with its two plots."""

import datetime
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks import commands, normalisation, plots, stages, systems, tables, workers
from benchmarks.common import images, machine, measure
from benchmarks.common.broker import broker
from benchmarks.common.machine import PROCESSES
from benchmarks.common.measure import Measured
from benchmarks.stages import Stage
from benchmarks.systems import Scale
from pigeonhole.version import install_hint

#: The number of images for measuring the stages.
STAGE_IMAGES = 10_000

_HEAD = """# How fast it is

`make bench` writes this page. All figures are from one run. The systems in a comparison take turns (A B C A B C …) for
{rounds} rounds each. In each round a system is started, warmed up, timed and stopped, so that only one runs at a time.
All have the same two processors, and two processes with one thread each, unless noted otherwise. Each figure is the
median, followed by the smallest and the largest value. Files are in the operating system's cache.

| | |
| --- | --- |
| machine | {machine} |
| versions | {versions} |
| date | {date} |
| command | `{command}` |
"""

_DIGITS = """## Digits, end to end

{digits} images of MNIST's test set, 28x28 grey PNG files ({source}), from files on disk to a label for each image in
the calling process. Pigeonhole has all features on: digit normalisation, ledger, resume state, an error for each bad
image, limits, rows in a CSV file. Slow systems get fewer images, because rates are compared. "Pigeonhole is" gives its
speed as a multiple of the other system's.

{table}
{ray}
![images per second by system](benchmarks-systems.svg)

{settings}
"""

_PHOTOS = """## Photos, end to end

{photos} names of {distinct} JPEG photos of 12 megapixels (generated: texture at every scale, and grain), with a small
64x64 colour network of random weights.

{table}
{settings}

Labels differ because the pixels differ: in Pigeonhole, the JPEG decoder shrinks the picture, and another filter resizes
it.
"""

_IMAGENET = """## Photos of 500 x 375, EfficientNet-Lite0

{photos} names of {distinct} JPEG photos of 500 x 375 (generated as above), and EfficientNet-Lite0 with its published
weights: shorter side to 256, center of 224 x 224, 1,000 classes. Pigeonhole has all features on. "The same session" is
Pigeonhole's own model file in ONNX Runtime. The last three run the network in eager torch, as in the guides of these
projects.

{table}
{ray}
{settings}

Labels differ only where two classes have nearly the same probability: Pigeonhole resizes only the cropped part, so a
few pixels are rounded to the next of 256 levels.
"""

_COMMANDS = """## Commands that a person waits for

The time of whole commands, with files in the operating system's cache.

{commands}
A submission of hard links in folders of 10,000, to a Redis without workers; the time of the whole command.

{submission}"""

_WORKERS = """## More workers

Workers of one process each. In place of reading images and running a model, they sleep {seconds} s for each chunk of
256 images; everything else is real. The time is from submission to the last row.

{scaled}
Without any work and with {count} workers, only references and results move. Here the producer, the workers and Redis
share two processors. The producer, which lists, submits, fetches and checks each row, is the limit. Redis uses at most
one processor: its processor time for the same batches shows where one Redis becomes the limit.

{empty}"""

_STAGES = """## Stages

Each stage is measured alone, one after the other, over {count:,} images, in one process with one thread. A process of
the bare loop takes {bare:,.0f} µs per image; the shares of its stages do not add up to 100% because of the work between
them.

{table}
![time per image by stage](benchmarks-stages.svg)

In `normalise`, pictures in MNIST's form take a short cut. The time for other pictures, in one process:

{normalised}"""


@dataclass
class Whole:
    """The results of a run.

    Args:
        scale: the numbers of rounds and images.
        source: the source of the digits, in words.
        sections: the sections in Markdown.
        systems: the comparison with digits, for the plot.
        stages: the stages, for the plot.
    """

    scale: Scale
    source: str
    sections: list[str] = field(default_factory=list)
    systems: list[Measured] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    def add(self, section: str) -> None:
        """Add a section, and print it."""
        self.sections.append(section)
        say("\n" + section)


def say(line: str) -> None:
    """Print a line at once, because a run takes long."""
    print(line, flush=True)


def quick(folder: Path, scale: Scale) -> None:
    """Compare Pigeonhole with the bare loop only, and print the table."""
    say("\n" + tables.systems(measure.alternate(systems.quick(folder, scale), scale.rounds, say)))


def measure_all(folder: Path, data: Path, scale: Scale, wanted: Collection[str]) -> Whole:
    """Measure sections.

    Args:
        folder: a folder for temporary files.
        data: the folder that contains MNIST/raw.
        scale: the numbers of rounds and images.
        wanted: the names of the sections to measure.
    """
    there = (data / "MNIST" / "raw").is_dir()
    whole = Whole(scale, "10,000 of them, linked to more names" if there else "the shipped samples, for want of DATA")
    for name, section in _SECTIONS.items():
        if name in wanted:
            work = folder / name
            work.mkdir()
            section(whole, work, data)
    return whole


def _digits(whole: Whole, folder: Path, data: Path) -> None:
    scale = whole.scale
    with broker() as socket:
        whole.systems = measured = measure.alternate(systems.digits(folder, data, scale, socket), scale.rounds, say)
    table = tables.systems(measured)
    whole.add(
        _DIGITS.format(
            digits=f"{scale.digits:,}",
            source=whole.source,
            table=table,
            ray=tables.not_ready(measured),
            settings=tables.settings(measured),
        )
    )


def _photos(whole: Whole, folder: Path, data: Path) -> None:
    measured = measure.alternate(systems.photos(folder, whole.scale), whole.scale.rounds, say)
    photos, settings = f"{whole.scale.photos:,}", tables.settings(measured)
    table = tables.systems(measured)
    whole.add(_PHOTOS.format(photos=photos, distinct=images.PHOTOS, table=table, settings=settings))


def _imagenet(whole: Whole, folder: Path, data: Path) -> None:
    missing = [name for name in systems.IMAGENET_NEEDS if find_spec(name) is None]
    if missing:
        say(f"imagenet: skipped, because {missing[0]} is not installed: {install_hint('bench')}")
        return
    measured = measure.alternate(systems.imagenet(folder, whole.scale), whole.scale.rounds, say)
    whole.add(
        _IMAGENET.format(
            photos=f"{whole.scale.imagenet:,}",
            distinct=images.SMALL_PHOTOS,
            table=tables.systems(measured),
            ray=tables.not_ready(measured),
            settings=tables.settings(measured),
        )
    )


def _commands(whole: Whole, folder: Path, data: Path) -> None:
    scale = whole.scale
    with broker() as socket:
        timed = commands.commands(folder, socket, scale.rounds)
        submitted = commands.submission(folder, socket, scale.submitted, scale.rounds)
    whole.add(
        _COMMANDS.format(commands=commands.commands_table(timed), submission=commands.submission_table(submitted))
    )


def _workers(whole: Whole, folder: Path, data: Path) -> None:
    scaled = workers.scaled_table(workers.scaled(folder, whole.scale.rounds))
    empty = workers.empty_table(workers.empty(folder, whole.scale.rounds))
    seconds, count = workers.SECONDS_A_CHUNK, workers.EMPTY_WORKERS
    whole.add(_WORKERS.format(seconds=seconds, count=count, scaled=scaled, empty=empty))


def _stages(whole: Whole, folder: Path, data: Path) -> None:
    files = images.digits(folder / "mnist", data)
    count = min(STAGE_IMAGES, whole.scale.digits)
    with broker() as socket:
        whole.stages = stages.measure(images.link(folder / "digits", files, count), socket, whole.scale.rounds)
    bare = next((each.rate for each in whole.systems if each.entry.name == systems.BARE), None)
    # Without the bare loop, the shares are relative to the sum of the stages.
    micros = PROCESSES * 1e6 / bare if bare else sum(each.micros for each in whole.stages)
    normalised = normalisation.as_table(normalisation.measure(files, whole.scale.rounds))
    described = stages.stages_table(whole.stages, micros)
    whole.add(_STAGES.format(count=count, bare=micros, table=described, normalised=normalised))


_SECTIONS: dict[str, Callable[[Whole, Path, Path], None]] = {
    "systems": _digits,
    "photos": _photos,
    "imagenet": _imagenet,
    "commands": _commands,
    "workers": _workers,
    "stages": _stages,
}


def _command(scale: Scale) -> str:
    usual = vars(Scale())
    options = shlex.join(f"--{name}={value}" for name, value in vars(scale).items() if value != usual[name])
    return shlex.join(["make", "bench", *([f"BENCH={options}"] if options else [])])


def write(whole: Whole, docs: Path) -> None:
    """Write docs/benchmarks.md and the two plots."""
    head = _HEAD.format(
        rounds=whole.scale.rounds,
        machine=machine.describe(),
        versions=machine.versions(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        command=_command(whole.scale),
    )
    (docs / "benchmarks.md").write_text("\n".join([head, *whole.sections]), encoding="utf-8")
    plots.systems(whole.systems, docs / "benchmarks-systems.svg")
    plots.stages(whole.stages, docs / "benchmarks-stages.svg")
    say(f"written: {docs / 'benchmarks.md'} and its two plots")
