"""`make bounds`: measure memory of submissions, waiting of a small job behind a large one, and cost of `appendfsync`.

It prints the tables of docs/reliability.md in Markdown, and draws docs/bounds.svg. Images are hard links to some
thousand different files; Redis and workers are real processes. No other program should run at the same time.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.common.memory import peak as memory_peak
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from tests.conftest import ROOT, wait_for
from tests.faults.server import RedisServer
from tests.faults.site import SAMPLES, Site

#: The number of different images; each has many names.
DISTINCT = 5_000
PLOT = ROOT / "docs" / "bounds.svg"
#: Images per folder, in the order of a camera's folders.
PER_FOLDER = 10_000
#: Images of a small job, and of the large job before it.
SMALL, LARGE = 100, 100_000
#: Images to classify with each policy of `appendfsync`, and the number of rounds.
CLASSIFIED, ROUNDS = 20_000, 5
POLICIES = ("always", "everysec", "no")
#: The most bytes that Redis may take per pending image.
MOST = 64


@dataclass(frozen=True)
class Memory:
    """The time and memory of one submission.

    Args:
        tree: the name of the folder of images.
        images: the number of images.
        seconds: the time of the submission.
        producer: the command's peak of resident memory, in bytes.
        redis_peak: the peak of Redis' memory above its use before the submission, in bytes.
        redis_held: Redis' memory after the submission above its use before, in bytes.
    """

    tree: str
    images: int
    seconds: float
    producer: int
    redis_peak: int
    redis_held: int


def main() -> None:
    """Measure, and print all tables."""
    parser = argparse.ArgumentParser(prog="make bounds", description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=1_000_000, help="images of the largest submission [1,000,000]")
    counts = [count for count in (10_000, 100_000, 1_000_000) if count <= parser.parse_args().most]
    with tempfile.TemporaryDirectory(prefix="pigeonhole-bounds-") as folder, closing(_site(folder)) as site:
        files = draw(site.folder / "distinct")
        for count in {*counts, SMALL, CLASSIFIED, LARGE}:
            link(tree(site, count), count, files, camera)
        link(site.images / "digests", LARGE, files, digest)
        measured = [memory(site, tree(site, count), count) for count in counts]
        plot(measured)
        print_memory([*measured, memory(site, site.images / "digests", LARGE)])
        # This PYTHONPATH does not have the `sitecustomize.py` with which tests slow down workers.
        site.start_worker("one", processes=2, PYTHONPATH=str(ROOT))
        jobs = Jobs(site)
        print_rows(jobs)
        print_waiting(jobs)
        print_policies(jobs)


def _site(folder: str) -> Site:
    return Site(Path(folder), fsync="always")


def tree(site: Site, count: int) -> Path:
    """Return the folder that contains `count` images."""
    return site.images / f"photos-{count}"


def draw(folder: Path) -> list[Path]:
    """Write some thousand different images, because equal rows would compress too well."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    samples = [np.asarray(Image.open(path).convert("L"), np.int16) for path in sorted(SAMPLES.glob("0*.png"))]
    files = [folder / f"{number}.png" for number in range(DISTINCT)]
    for number, file in enumerate(files):
        sample = samples[number % len(samples)]
        pixels = sample + noise.integers(-60, 60, sample.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
    return files


def link(folder: Path, count: int, files: list[Path], name: Callable[[int], str]) -> None:
    """Create a tree of `count` images, which are hard links to a few files."""
    for number in range(count):
        album = folder / f"2026-{number // PER_FOLDER + 1:02}"
        if number % PER_FOLDER == 0:
            album.mkdir(parents=True)
        os.link(files[number % len(files)], album / f"{name(number)}.png")


def camera(number: int) -> str:
    """Return a file name as a camera writes it."""
    return f"IMG_{number:07}"


def digest(number: int) -> str:
    """Return a random file name, which does not compress."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


def memory(site: Site, images: Path, count: int) -> Memory:
    """Submit a tree of images to a private Redis with `pigeonhole submit`, without workers, and measure it."""
    folder = site.folder / f"redis-{images.name}"
    folder.mkdir()
    with closing(RedisServer(folder, fsync="always")) as redis:
        before = redis.client.info("memory")["used_memory"]
        command = [sys.executable, "-m", "pigeonhole", "submit", str(images), "-q"]
        environment = site.environment(redis.url) | {"PYTHONPATH": str(ROOT)}
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory_peak(process.pid))
            time.sleep(0.01)
        seconds = time.monotonic() - started
        if process.returncode:
            raise RuntimeError(f"the submission of {count} images ended with exit code {process.returncode}")
        now = redis.client.info("memory")
        return Memory(images.name, count, seconds, peak, now["used_memory_peak"] - before, now["used_memory"] - before)


def plot(measured: list[Memory]) -> None:
    """Draw the peaks of producer and Redis over the number of images."""
    matplotlib.rcParams["svg.hashsalt"] = "pigeonhole"  # so that the same figures result in the same file
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    images = [each.images for each in measured]
    axes.loglog(images, [each.producer / 1e6 for each in measured], "o-", color="C0", label="the producer")
    axes.loglog(images, [each.redis_peak / 1e6 for each in measured], "o-", color="C1", label="Redis")
    axes.loglog(images, [MOST * count / 1e6 for count in images], "--", color="grey", label=f"{MOST} bytes an image")
    axes.set_title("Peak memory of a submission without workers")
    axes.set_xlabel("images")
    axes.set_ylabel("MB")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(PLOT, metadata={"Date": None})


class Jobs:
    """Submits and follows jobs on a site with a running worker."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.client = Connection(site.direct, Retrying(site.direct.outage_seconds))

    def submit(self, count: int) -> str:
        """Submit `count` images, and return the job."""
        source, root = str(tree(self.site, count)), Root(str(self.site.folder))
        job = self.client.create([source])
        self.client.submit(job, expand([source], root))
        return job

    def follow(self, job: str) -> None:
        """Wait for a job's last row, and delete the job."""
        for _ in self.client.follow(job):
            continue
        self.client.delete(job)

    def timed(self, count: int) -> float:
        """Return the seconds from the start of a submission to its job's last row."""
        started = time.monotonic()
        self.follow(self.submit(count))
        return time.monotonic() - started


def print_memory(measured: list[Memory]) -> None:
    """Print the table of submissions."""
    print("\n| folder | images | submitted in | images/s | producer's peak | Redis' peak | Redis' end | bytes/image |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for each in measured:
        cells = [each.tree, f"{each.images:,}", f"{each.seconds:.1f} s", f"{each.images / each.seconds:,.0f}"]
        cells += [f"{number / 1e6:.1f} MB" for number in (each.producer, each.redis_peak, each.redis_held)]
        print(f"| {' | '.join(cells)} | {each.redis_held / each.images:.1f} |", flush=True)


def print_rows(jobs: Jobs) -> None:
    """Print the memory of references, and of rows that are not fetched yet, in Redis."""
    job = jobs.submit(LARGE)
    wait_for(lambda: jobs.client.status(job).over, "the end of a job")
    key = f"{jobs.site.settings.prefix}:job:{job}"
    refs, rows = (jobs.site.redis.client.memory_usage(f"{key}:{part}", samples=0) for part in ("refs", "rows"))
    print(
        f"\n{LARGE:,} finished images: {refs / LARGE:.1f} bytes per reference, {rows / LARGE:.1f} bytes per row",
        flush=True,
    )
    jobs.client.delete(job)


def print_waiting(jobs: Jobs) -> None:
    """Print the time of a small job alone, and behind a large one."""
    alone = [jobs.timed(SMALL) for _ in range(ROUNDS)]
    large = jobs.submit(LARGE)
    wait_for(lambda: jobs.client.status(large).done > LARGE // 20, "the large job")
    behind: list[float] = []
    while len(behind) < ROUNDS and not jobs.client.status(large).over:
        behind.append(jobs.timed(SMALL))
    jobs.follow(large)
    print(f"\n| a job of {SMALL} images | median | least | most | n |\n| --- | ---: | ---: | ---: | ---: |")
    for name, seconds in (("alone", alone), (f"behind one of {LARGE:,}", behind)):
        print(f"| {name} | {_spread(seconds)} | {len(seconds)} |", flush=True)


def print_policies(jobs: Jobs) -> None:
    """Print the cost of each policy of `appendfsync`, in rounds A B C A B C …, so that other changes affect all."""
    submitted: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    classified: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for _ in range(ROUNDS):
        for policy in POLICIES:
            jobs.site.redis.client.config_set("appendfsync", policy)
            started = time.monotonic()
            # For a model without workers, because their work would be measured, too.
            job = jobs.client.create([], "nobody")
            source = str(tree(jobs.site, LARGE))
            jobs.client.submit(job, expand([source], Root(str(jobs.site.folder))))
            submitted[policy].append(time.monotonic() - started)
            jobs.client.delete(job)
            classified[policy].append(jobs.timed(CLASSIFIED))
    for what, seconds in ((f"submit {LARGE:,} images", submitted), (f"classify {CLASSIFIED:,} images", classified)):
        print(f"\n| `appendfsync`: {what} | median | least | most | n |\n| --- | ---: | ---: | ---: | ---: |")
        for policy in POLICIES:
            print(f"| `{policy}` | {_spread(seconds[policy])} | {ROUNDS} |", flush=True)


def _spread(seconds: list[float]) -> str:
    return " | ".join(f"{number:.2f} s" for number in (statistics.median(seconds), min(seconds), max(seconds)))


if __name__ == "__main__":
    main()
