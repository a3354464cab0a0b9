"""The registry of output formats. To add one, write its class in a new file and add it to `FORMATS`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pigeonhole.errors import UsageError
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.sinks.csv_rows import Csv
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.jsonl import JsonLines
from pigeonhole.sinks.parquet import Parquet
from pigeonhole.sinks.sqlite import Sqlite

#: Value of `--format` → format.
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Csv(),
        JsonLines(),
        Parquet(),
        Sqlite(),
    )
}


def format_of(path: str) -> Format:
    """Return the format for a file's extension; raise UsageError if there is none."""
    extension = os.path.splitext(path)[1].lower()
    for format in FORMATS.values():
        if extension in format.extensions:
            return format
    *known, last = (format.extensions[0] for format in FORMATS.values())
    raise UsageError(f"{path!r} has no known extension: use {', '.join(known)} or {last}, or choose one with --format")


@dataclass(frozen=True)
class Results:
    """The rows of a finished run, which can be iterated over several times.

    Args:
        path: the path of the file.
        format: the file's format.
        job: the job, with the counts and models of its rows in the file; None: the format does not record it.
        written_ns: the time when the last row was written, in nanoseconds since the epoch.
    """

    path: str
    format: Format
    job: JobStatus | None
    written_ns: int

    def __iter__(self) -> Iterator[Row]:
        """Read the rows in their order; raise UsageError if the file is not a results file."""
        return self.format.read(self.path, self.job)


def read_results(
    path: str, job: str | None = None, format: Format | None = None, sources: tuple[str, ...] | None = None
) -> Results:
    """Open the results that a command with `-o FILE` wrote.

    Args:
        path: the path of FILE.
        job: the id of a job in a database; None: the job that was written last.
        format: the format of FILE; None: that of its extension.
        sources: the sources of a job in a database, as the user named them; the last such job is selected. None: any.

    Raises:
        UsageError: there is no such file or job, or the file is not a results file.
    """
    format = format or format_of(path)
    if job is not None and not format.many_jobs:
        raise UsageError(f"--job selects a job in a database, and {path!r} is not a database: run without --job")
    return Results(path, format, *format.about(path, job, sources))
