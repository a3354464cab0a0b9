"""Result files in all formats."""

import sqlite3
from contextlib import closing

from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.file import File
from pigeonhole.sinks.registry import FORMATS

JOB = JobStatus(
    job="one", state=JobState.FINISHED, model="digits", created=1.0, sources=("in", "\udcff"), started=2, finished=3
)


def write(rows: list[Row], path: str, job: JobStatus = JOB) -> None:
    sink = File(path, FORMATS[path.rpartition(".")[2]])
    for row in rows:
        sink.write([row])
    sink.finish(job)


def ask(question: str, *values: object, path: str = "rows.db") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question, values).fetchall()
