"""Measure formats that are written at the end of a job: `python -m benchmarks.studies.sinks [ROWS]`."""

import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing

from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.file import File
from pigeonhole.sinks.registry import FORMATS, read_results

JOB = JobStatus(job="20261123-163637-517a47", state=JobState.FINISHED, model="digits", created=1.0, sources=("photos",))
QUESTIONS = {
    "label 7, the 100 least confident": "WHERE label = '7' ORDER BY confidence LIMIT 100",
    "the same of one job": f"WHERE job = '{JOB.job}' AND label = '7' ORDER BY confidence LIMIT 100",
    "the 100 most doubtful": f"WHERE job = '{JOB.job}' AND review ORDER BY confidence LIMIT 100",
}


def rows(count: int) -> Iterator[list[Row]]:
    """Yield batches of random rows, with ten labels and three most probable classes."""
    chance = random.Random(1)
    for start in range(0, count, 2048):
        batch = []
        for _ in range(start, min(count, start + 2048)):
            p = chance.randrange(500_000, 1_000_000) / 1e6
            one, two, three = chance.sample("0123456789", 3)
            top = ((one, p), (two, round((1 - p) / 2, 6)), (three, round((1 - p) / 4, 6)))
            path = f"photos/{chance.getrandbits(64):016x}.png"
            batch.append(Row(path, one, p, p < 0.55, "", "digits@0123456789ab", top))
        yield batch


def measure(format: str, count: int) -> None:
    """Measure writing, reading and querying a format, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"rows.{format}")
        sink = File(path, FORMATS[format])
        for batch in rows(count):
            sink.write(batch)
        began, busy = time.perf_counter(), time.process_time()
        sink.finish(JOB)
        took, busy = time.perf_counter() - began, time.process_time() - busy
        size = os.path.getsize(path) / 1e6
        print(f"{format}: {count:,} rows: written in {took:.1f} s ({busy:.1f} s CPU time), {size:.0f} MB", end="; ")
        began = time.perf_counter()
        assert sum(1 for _ in read_results(path)) == count
        print(f"read in {time.perf_counter() - began:.1f} s", end="; ")
        print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
        if FORMATS[format].many_jobs:
            for name, condition in QUESTIONS.items():
                print(f"  {name}: {ask(path, condition):.2f} ms")


def ask(path: str, condition: str) -> float:
    """Return the milliseconds of a query, including opening the database."""
    began = time.perf_counter()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"SELECT path, confidence FROM rows {condition}").fetchall()
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        for format in ("parquet", "db"):  # each in its own process, to measure its memory
            subprocess.run(
                [sys.executable, "-m", "benchmarks.studies.sinks", format, *(sys.argv[1:] or ["1000000"])], check=True
            )
