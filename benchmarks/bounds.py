"""`make bounds`: what a job costs in memory, how long a small one waits behind a large one, what `appendfsync` costs.

It prints tables in Markdown, which docs/reliability.md shows, and draws docs/bounds.svg. Everything is real: images are
hard links to some thousands that differ, Redis and workers are processes of their own. Nothing else should run then.
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

from benchmarks.memory import peak as memory_peak
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root
from tests.conftest import ROOT, wait_for
from tests.faults.server import RedisServer
from tests.faults.site import SAMPLES, Site

#: Images that differ from each other; each has many names.
DISTINCT = 5_000
PLOT = ROOT / "docs" / "bounds.svg"
#: Images in each folder; a camera's have some thousands.
PER_FOLDER = 10_000
#: A small job, and the large one that it is submitted behind.
SMALL, LARGE = 100, 100_000
#: What is classified for `appendfsync`, and how often each is measured.
CLASSIFIED, ROUNDS = 20_000, 5
POLICIES = ("always", "everysec", "no")
#: Bytes that Redis may take for each image that is owed.
MOST = 64


@dataclass(frozen=True)
class Memory:
    """What the submission of so many references took.

    Args:
        tree: their folder's name.
        images: how many.
        seconds: that it took.
        producer: the command's peak of resident memory, in bytes.
        redis_peak, redis_held: of Redis' memory, its peak and its end, above what it used before, in bytes.
    """

    tree: str
    images: int
    seconds: float
    producer: int
    redis_peak: int
    redis_held: int


def main() -> None:
    """Measure and print."""
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
        # Nothing slows its processes: the tests' way to do so is not on this path.
        site.start_worker("one", processes=2, PYTHONPATH=str(ROOT))
        jobs = Jobs(site)
        print_rows(jobs)
        print_waiting(jobs)
        print_policies(jobs)


def _site(folder: str) -> Site:
    return Site(Path(folder), fsync="always")


def tree(site: Site, count: int) -> Path:
    """Give the folder that holds so many images."""
    return site.images / f"photos-{count}"


def draw(folder: Path) -> list[Path]:
    """Make some thousands of images that differ: rows that say the same would take too little room."""
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
    """Make a tree of so many images, links to a few."""
    for number in range(count):
        album = folder / f"2026-{number // PER_FOLDER + 1:02}"
        if number % PER_FOLDER == 0:
            album.mkdir(parents=True)
        os.link(files[number % len(files)], album / f"{name(number)}.png")


def camera(number: int) -> str:
    """Give an ordinary name."""
    return f"IMG_{number:07}"


def digest(number: int) -> str:
    """Give the worst of names: nothing of it is like another's."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


def memory(site: Site, images: Path, count: int) -> Memory:
    """Submit a tree of images to a Redis of its own, with the command that a user has; no worker fetches any."""
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
            raise RuntimeError(f"the submission of {count} images ended with {process.returncode}")
        now = redis.client.info("memory")
        return Memory(images.name, count, seconds, peak, now["used_memory_peak"] - before, now["used_memory"] - before)


def plot(measured: list[Memory]) -> None:
    """Draw both peaks over the number of images."""
    matplotlib.rcParams["svg.hashsalt"] = "pigeonhole"  # the same figures, the same file
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    images = [each.images for each in measured]
    axes.loglog(images, [each.producer / 1e6 for each in measured], "o-", color="C0", label="the producer")
    axes.loglog(images, [each.redis_peak / 1e6 for each in measured], "o-", color="C1", label="Redis")
    axes.loglog(images, [MOST * count / 1e6 for count in images], "--", color="grey", label=f"{MOST} bytes an image")
    axes.set_title("Peak memory of a submission that no worker takes from")
    axes.set_xlabel("images")
    axes.set_ylabel("MB")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(PLOT, metadata={"Date": None})


class Jobs:
    """Jobs on a site whose worker runs."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.client = Connection(site.direct, Retrying(site.direct.patience))

    def submit(self, count: int) -> str:
        """Submit so many images, and give the job."""
        source, root = str(tree(self.site, count)), Root(str(self.site.folder))
        job = self.client.create([source])
        self.client.submit(job, expand([source], root))
        return job

    def follow(self, job: str) -> None:
        """Wait for a job's last row, and forget it."""
        for _ in self.client.follow(job):
            continue
        self.client.delete(job)

    def timed(self, count: int) -> float:
        """Give the seconds from a submission's beginning to its job's last row."""
        started = time.monotonic()
        self.follow(self.submit(count))
        return time.monotonic() - started


def print_memory(measured: list[Memory]) -> None:
    """Print what submissions took."""
    print("\n| folder | images | submitted in | images/s | producer's peak | Redis' peak | Redis' end | bytes/image |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for each in measured:
        cells = [each.tree, f"{each.images:,}", f"{each.seconds:.1f} s", f"{each.images / each.seconds:,.0f}"]
        cells += [f"{number / 1e6:.1f} MB" for number in (each.producer, each.redis_peak, each.redis_held)]
        print(f"| {' | '.join(cells)} | {each.redis_held / each.images:.1f} |", flush=True)


def print_rows(jobs: Jobs) -> None:
    """Print what references, and rows that nobody has fetched, take in Redis."""
    job = jobs.submit(LARGE)
    wait_for(lambda: jobs.client.status(job).over, "the end of a job")
    key = f"{jobs.site.settings.prefix}:job:{job}"
    refs, rows = (jobs.site.redis.client.memory_usage(f"{key}:{part}", samples=0) for part in ("refs", "rows"))
    print(
        f"\nof {LARGE:,} images done: {refs / LARGE:.1f} bytes a reference, {rows / LARGE:.1f} bytes a row", flush=True
    )
    jobs.client.delete(job)


def print_waiting(jobs: Jobs) -> None:
    """Print how long a small job takes alone, and behind a large one."""
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
    """Print what each way to sync costs; A B C A B C …, so that whatever else changes hits all alike."""
    submitted: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    classified: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for _ in range(ROUNDS):
        for policy in POLICIES:
            jobs.site.redis.client.config_set("appendfsync", policy)
            started = time.monotonic()
            # Nobody takes these: what workers do meanwhile would be measured as well.
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
