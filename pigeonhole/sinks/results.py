"""Finished results: made of a run's JSON lines in formats that can't grow a line at a time, and read back from any."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from pigeonhole.errors import UsageError
from pigeonhole.ledger.messages import Prediction
from pigeonhole.ledger.status import JobStatus
from pigeonhole.sinks import database, parquet
from pigeonhole.sinks.rows import Format, format_of, read

#: Rows that are turned from one format into another at a time.
_CHUNK = 8192

T = TypeVar("T")


class Results:
    """The rows of a finished run, in their order, as often as they are asked for; see `read_results`.

    Attributes:
        path: of the file.
        format: how it was written.
        job: what the file says of the job, with the counts of the rows that it has and the checkpoints that made them
            for `model`; None where it says nothing, as CSV and JSON lines do.
        written_ns: when the last row was written, in nanoseconds since the epoch.
    """

    def __init__(self, path: str, format: Format, job: JobStatus | None, written_ns: int) -> None:
        self.path = path
        self.format = format
        self.job = job
        self.written_ns = written_ns

    def __iter__(self) -> Iterator[Prediction]:
        """Give the rows, one at a time; CSV has no `top`.

        Raises:
            UsageError: the file can't be read, or something in it is no row of ours.
        """
        if self.format is Format.parquet:
            return parquet.read(self.path)
        if self.format is Format.db:
            return database.read(self.path, self.job.job if self.job else "")
        return _from_lines(self.path, self.format)


def read_results(
    path: str, job: str | None = None, format: Format | None = None, sources: tuple[str, ...] | None = None
) -> Results:
    """Find the results in a file that `-o FILE` made.

    Args:
        path: of FILE.
        job: of those in a database; None: the one that was written last
        format: None: what the path ends with.
        sources: of a database, the last job that was made of these, as they were named; None: of any.

    Raises:
        UsageError: there is no such file or no such job in it, or it holds no results.
    """
    format = format or format_of(path)
    try:
        with open(path, "rb") as file:
            written_ns = os.fstat(file.fileno()).st_mtime_ns
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    if format is Format.parquet:
        parquet.check()
        return Results(path, format, parquet.job_of(path), written_ns)
    if format is Format.db:
        found = database.job_of(path, job, sources)
        if found is None:
            asked = f"no job {job!r}" if job else f"no job of {' '.join(sources)}" if sources else "no job"
            raise UsageError(f"{path!r} holds {asked}")
        return Results(path, format, *found)
    return Results(path, format, None, written_ns)


def check(path: str, format: Format) -> None:
    """Tell before anything runs, as far as that can be known, whether results can't be written.

    Raises:
        UsageError: a package is missing, or what is there is no database of ours.
        OutputFailed: the database that is there can't be written to.
    """
    if format is Format.parquet:
        parquet.check()
    elif format is Format.db:
        database.check(path)


def convert(part: str, path: str, format: Format, job: JobStatus | None) -> None:
    """Make results in a format that can't grow a line at a time of a run's JSON lines, all or nothing.

    Args:
        part: where those are.
        path: of the results.
        job: what is known of it.

    Raises:
        OSError, PigeonholeError: they can't be written.
    """
    with open(part, "rb") as file:
        written_ns = os.fstat(file.fileno()).st_mtime_ns
        rows = _chunks(row for _, row in read(file, Format.jsonl))
        if format is Format.parquet:
            parquet.write(path, rows, job, written_ns)
        else:
            assert job is not None  # every command has one; for the type checker
            database.write(path, rows, job, written_ns)


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    values = iter(values)
    return iter(lambda: list(islice(values, _CHUNK)), [])


def _from_lines(path: str, format: Format) -> Iterator[Prediction]:
    try:
        with open(path, "rb") as file:
            for _, row in read(file, format):
                yield row
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    except UsageError as exc:
        raise UsageError(f"{path!r} holds no results of ours: {exc}") from exc


def _unreadable(path: str, exc: OSError) -> UsageError:
    return UsageError(f"{path!r} can't be read: {exc.strerror}")
