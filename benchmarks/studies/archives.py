"""`python -m benchmarks.studies.archives`: the cost of an image as a file and in archives (docs/guide/archives.md).

The shipped samples are repeated under other names. They go through the code of producer and worker in this one process,
in rounds that alternate between files and archives. Processor time is counted, because other programs change it least.
"""

import argparse
import statistics
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import torch

from pigeonhole.jobs.submit import batches
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from worker.processing.pipeline import Pipeline

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SOURCES = {"files": "files", ".zip": "x.zip", ".tar": "x.tar", ".tar.gz": "x.tar.gz"}


def main() -> None:
    """Write the images, measure, and print the table."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--images", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    torch.set_num_threads(1)
    pipeline = Pipeline(Settings(), Classifier.load(checkpoints.find("digits"), Settings()))
    costs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in SOURCES}
    with tempfile.TemporaryDirectory(prefix="pigeonhole-archives-") as folder:
        make(Path(folder), given.images)
        measured(pipeline, f"{folder}/files", given.images)  # warm
        for _ in range(given.rounds):
            for kind, source in SOURCES.items():
                costs[kind].append(measured(pipeline, f"{folder}/{source}", given.images))
    print("| source | producer, µs/image | worker, µs/image | both | least | most | rate of files |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    base = statistics.median(map(sum, costs["files"]))
    for kind, rounds in costs.items():
        both = sorted(map(sum, rounds))
        median = statistics.median(both)
        columns = (*map(statistics.median, zip(*rounds, strict=True)), median, both[0], both[-1])
        print(f"| {kind} | {' | '.join(f'{column:.1f}' for column in columns)} | {base / median:.2f} |")


def make(folder: Path, count: int) -> None:
    """Write the images as files and into archives of each kind."""
    images = [image for image in sorted(SAMPLES.glob("*.png")) if len(image.stem) == 6]  # without the error rows
    (folder / "files").mkdir()
    for number, image in enumerate(islice(cycle(images), count)):
        (folder / "files" / f"{number:06d}.png").write_bytes(image.read_bytes())
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in _files(folder / "files"):
            zipped.write(file, file.name)
    gnu = (
        tarfile.GNU_FORMAT
    )  # `tar` writes it; the POSIX format has two headers for each file, which take twice as long
    with (
        tarfile.open(folder / "x.tar", "w", format=gnu) as tar,
        tarfile.open(folder / "x.tar.gz", "w:gz", format=gnu) as deflated,
    ):
        for file in _files(folder / "files"):
            tar.add(file, file.name)
            deflated.add(file, file.name)


def measured(pipeline: Pipeline, source: str, count: int) -> tuple[float, float]:
    """Return microseconds of processor time per image: to list images and form batches, and to classify these."""
    begun = time.process_time()
    cut = list(batches(expand([source], Root("/"))))
    listed = time.process_time()
    answers = [pipeline.classify(batch) for batch in cut]
    ended = time.process_time()
    assert sum(map(len, answers)) == count
    assert not any(answer.errors for answer in answers)
    return 1e6 * (listed - begun) / count, 1e6 * (ended - listed) / count


def _files(path: Path) -> Iterator[Path]:
    return iter(sorted(path.iterdir()) if path.is_dir() else [path])


if __name__ == "__main__":
    main()
