"""Measure several workers with simulated work, and the number of batches that one Redis can handle."""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from benchmarks.common import images
from benchmarks.common.broker import broker
from benchmarks.common.machine import ROOT
from benchmarks.common.measure import Images
from benchmarks.tables import spread, table
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.submit import AHEAD, LARGEST, PER_SIZE, SMALLEST
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root

WORKERS = (1, 2, 4, 8)
#: Seconds that the simulated model takes for a chunk of 256 images: 1,280 images/s. With eight such workers, the two
#: processors still have enough time for Pigeonhole's own work.
SECONDS_A_CHUNK = 0.2
#: The number of images in batches below the largest size.
_SMALL = sum(size * PER_SIZE for size in (SMALLEST << step for step in range((LARGEST // SMALLEST).bit_length() - 1)))
#: For the limit of one Redis: the number of workers, of one process each, and of batches of the largest size.
EMPTY_WORKERS, _EMPTY_BATCHES = 4, 400


@dataclass(frozen=True)
class Scaled:
    """The measured rates for one number of workers.

    Args:
        workers: the number of workers, of one process each.
        images: the number of images in the job.
        rates: images per second in each round, from submission to the last row.
    """

    workers: int
    images: int
    rates: list[float]

    @property
    def linear(self) -> float:
        """The rate if only the simulated model took time, in images per second."""
        return self.workers * Settings().chunk / SECONDS_A_CHUNK


@dataclass
class Empty:
    """The measured times of batches without any work.

    Args:
        batches: the number of batches in the job, nearly all of the largest size.
        images: the number of images in the job.
        seconds: the time of each round, from the start of the submission to the last row.
        redis: Redis' processor time in each round, in seconds.
    """

    batches: int
    images: int
    seconds: list[float]
    redis: list[float]


def scaled(folder: Path, rounds: int, workers: Sequence[int] = WORKERS) -> list[Scaled]:
    """Measure several numbers of workers, in alternation, with the same work for each worker."""
    measured = [Scaled(count, _SMALL + LARGEST * AHEAD * count, []) for count in workers]
    tree = images.link(folder / "simulated", images.samples(), max(each.images for each in measured), 10_000)
    for _ in range(rounds):
        for each in measured:
            with _installation(each.workers, SECONDS_A_CHUNK) as connection:
                each.rates.append(each.images / _timed(connection, tree, each.images)[0])
    return measured


def empty(folder: Path, rounds: int, batches: int = _EMPTY_BATCHES) -> Empty:
    """Measure workers that claim and commit batches without any work."""
    count = _SMALL + LARGEST * batches
    tree = images.link(folder / "empty", images.samples(), count, 10_000)
    measured = Empty(0, count, [], [])
    for _ in range(rounds):
        with _installation(EMPTY_WORKERS, 0.0) as connection:
            before = _processor_seconds(connection)
            seconds, measured.batches = _timed(connection, tree, count)
            measured.seconds.append(seconds)
            measured.redis.append(_processor_seconds(connection) - before)
    return measured


def scaled_table(measured: Sequence[Scaled]) -> str:
    """Return the table of rates beside those of the simulated model alone."""
    heads = ["workers", "images/s", "least", "most", "n", "linear", "of linear", "wanted"]
    rows = []
    for each in measured:
        share = statistics.median(each.rates) / each.linear
        cells = [str(each.workers), *spread(each.rates), str(len(each.rates))]
        rows.append([*cells, f"{each.linear:,.0f}", f"{share:.3f}", "≥ 0.95"])
    return table(heads, rows, words=0)


def empty_table(measured: Empty) -> str:
    """Return the table of measured batches per second, and of those that would keep Redis' processor busy."""
    rows = []
    for name, seconds in (
        ("measured: one producer and the workers, on two processors", measured.seconds),
        ("limit of one Redis, by its processor time", measured.redis),
    ):
        rates = [measured.batches / each for each in seconds]
        images_rate = statistics.median(rates) * LARGEST
        rows.append([name, *spread(rates), str(len(rates)), f"{images_rate:,.0f}"])
    return table(["", "batches/s", "least", "most", "n", f"images/s at {LARGEST:,} per batch"], rows)


def _timed(connection: Connection, tree: Images, count: int) -> tuple[float, int]:
    """Return the seconds from the start of a submission to the last row, and the number of batches."""
    walk = expand([tree.folder], Root("/"))
    started = time.perf_counter()
    job = connection.create([tree.folder])
    submission = connection.submission(job, islice(walk, count))
    rows = sum(len(rows) for rows in connection.follow(job, on_status=submission.on_status, check=submission.check))
    seconds = time.perf_counter() - started
    if rows != count:
        raise RuntimeError(f"{rows:,} rows for {count:,} images")
    return seconds, connection.status(job).batches


def _processor_seconds(connection: Connection) -> float:
    used = connection.ledger.client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


@contextmanager
def _installation(workers: int, seconds_a_chunk: float) -> Iterator[Connection]:
    """Start a Redis, and workers of one process each with a simulated model."""
    with broker() as socket, tempfile.TemporaryFile() as log:
        settings = replace(Settings(), broker_url=f"unix://{socket}", processes=1)
        environment = os.environ | settings.to_environment()
        environment["PYTHONPATH"] = f"{ROOT / 'benchmarks' / 'standins' / 'sleeping'}{os.pathsep}{ROOT}"
        environment["BENCH_SECONDS_A_CHUNK"] = str(seconds_a_chunk)
        command = [sys.executable, "-m", "pigeonhole", "worker", "--log-level", "WARNING"]
        started = []
        try:
            for number in range(workers):
                name = ["--name", f"{number}@bench"]
                started.append(subprocess.Popen([*command, *name], env=environment, cwd=ROOT, stdout=log, stderr=log))
            connection = Connection(settings, Retrying(settings.outage_seconds))
            while sum(worker.processes for worker in connection.workers.alive()) < workers:
                if any(process.poll() is not None for process in started):
                    log.seek(0)
                    raise RuntimeError(f"a worker did not start: {log.read().decode()[-2000:]}")
                time.sleep(0.1)
            yield connection
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait()
