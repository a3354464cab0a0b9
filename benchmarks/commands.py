"""Measure the time of commands that a person waits for, and of a large submission."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.common import images
from benchmarks.common.machine import PROCESSES, ROOT
from benchmarks.common.memory import peak as memory_peak
from benchmarks.tables import spread, table
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root

#: Images per folder of the large submission, in the order of a camera's folders.
PER_FOLDER = 10_000
_PROGRAM = [sys.executable, "-m", "pigeonhole"]


@dataclass(frozen=True)
class Timed:
    """The measured times of a command.

    Args:
        name: the command, in words.
        seconds: the time of each run.
        wanted: the target, in words.
    """

    name: str
    seconds: list[float]
    wanted: str = ""


@dataclass(frozen=True)
class Submitted:
    """The measured time and memory of a large submission.

    Args:
        references: the number of references.
        seconds: the time of the whole command, in each run.
        producer: the command's peak of resident memory in each run, in bytes.
    """

    references: int
    seconds: list[float]
    producer: list[int]


def commands(folder: Path, socket: Path, rounds: int) -> list[Timed]:
    """Run each command `rounds` times, in alternation."""
    settings = replace(Settings(), broker_url=f"unix://{socket}", prefix="commands")
    shared, alone = os.environ | settings.to_environment(), dict(os.environ)
    image = str(images.samples()[0])
    rows = str(folder / "row.csv")
    torch = Timed("`python -c 'import torch'`, to compare with", [])
    help_ = Timed("`pigeonhole --help`", [], "0.3 s")
    submit = Timed("`pigeonhole submit` of one file", [], "0.6 s")
    classify = Timed("`pigeonhole classify` of one image, embedded, the whole command", [], "8 s, go for 4 s")
    worker = Timed("a worker's start to the first row", [], "6 s, go for 3 s")
    for _ in range(rounds):
        torch.seconds.append(_run([sys.executable, "-c", "import torch"], alone))
        help_.seconds.append(_run([*_PROGRAM, "--help"], alone))
        submit.seconds.append(_run([*_PROGRAM, "submit", image, "-q"], shared))
        classify.seconds.append(_run([*_PROGRAM, "classify", image, "-o", rows, "-q"], alone))
        worker.seconds.append(first_row(settings, image))
    return [help_, submit, classify, worker, torch]


def _run(command: Sequence[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def first_row(settings: Settings, image: str) -> float:
    """Start a worker for a waiting job, and return the seconds until the job's first row."""
    connection = Connection(settings, Retrying(settings.outage_seconds))
    connection.ledger.client.flushall()  # a private Redis; jobs of earlier rounds would come before this one
    job = connection.create([image])
    connection.submit(job, expand([image], Root(settings.image_root)))
    environment = os.environ | settings.to_environment() | {"PIGEONHOLE_PROCESSES": str(PROCESSES)}
    started = time.perf_counter()
    command = [*_PROGRAM, "worker", "--log-level", "WARNING"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=quiet, stderr=quiet) as worker:
        try:
            for _ in connection.follow(job):
                return time.perf_counter() - started
        finally:
            worker.terminate()
    raise RuntimeError("a job of one image ended without a row")


def submission(folder: Path, socket: Path, references: int, rounds: int) -> Submitted:
    """Submit a tree of hard links without workers, and measure it."""
    tree = images.link(folder / "tree", images.samples(), references, PER_FOLDER)
    settings = replace(Settings(), broker_url=f"unix://{socket}", prefix="submission")
    taken = Submitted(references, [], [])
    for _ in range(rounds):
        Ledger(settings).client.flushall()  # a private Redis
        started = time.perf_counter()
        command = [*_PROGRAM, "submit", tree.folder, "-q"]
        environment = os.environ | settings.to_environment()
        with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            peak = 0
            while process.poll() is None:
                peak = max(peak, memory_peak(process.pid))
                time.sleep(0.02)
        taken.seconds.append(time.perf_counter() - started)
        taken.producer.append(peak)
        if process.returncode:
            raise RuntimeError(f"the submission ended with exit code {process.returncode}")
    return taken


def commands_table(timed: Sequence[Timed]) -> str:
    """Return the table of commands."""
    rows = [[each.name, *spread(each.seconds, ".2f"), str(len(each.seconds)), each.wanted] for each in timed]
    return table(["command", "seconds", "least", "most", "n", "wanted at most"], rows)


def submission_table(taken: Submitted) -> str:
    """Return the table of the submission."""
    rates = [taken.references / seconds for seconds in taken.seconds]
    memory = f"{statistics.median(taken.producer) / 1e6:.0f} MB"
    row = [f"{taken.references:,}", *spread(rates), str(len(rates)), "100,000", memory]
    heads = ["references", "references/s", "least", "most", "n", "wanted at least", "the command's peak memory"]
    return table(heads, [row], words=0)
