"""The registry of output formats. To add one, write its class in a file of its own and list it in `FORMATS`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pigeonhole.errors import UsageError
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobStatus
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
    """Return the format that a file's extension names; raise UsageError if none does."""
    extension = os.path.splitext(path)[1].lower()
    for format in FORMATS.values():
        if extension in format.extensions:
            return format
    *known, last = (format.extensions[0] for format in FORMATS.values())
    raise UsageError(f"{path!r} does not say a format: end it with {', '.join(known)} or {last}, or give --format")


@dataclass(frozen=True)
class Results:
    """The rows of a finished run, which can be iterated over several times.

    Args:
        path: of the file.
        format: the file's format.
        job: the job, with the counts and models of its rows in the file; None where the format does not record it.
        written_ns: when the last row was written, in nanoseconds since the epoch.
    """

    path: str
    format: Format
    job: JobStatus | None
    written_ns: int

    def __iter__(self) -> Iterator[Row]:
        """Read the rows in their order; raise UsageError if the file holds other data."""
        return self.format.read(self.path, self.job)


def read_results(
    path: str, job: str | None = None, format: Format | None = None, sources: tuple[str, ...] | None = None
) -> Results:
    """Open the results that a command with `-o FILE` wrote.

    Args:
        path: of FILE.
        job: selects one of the jobs in a database; None selects the one that was written last.
        format: None: the format that the path ends with.
        sources: in a database, select the last job with these sources, as they were given.

    Raises:
        UsageError: there is no such file or job, or the file holds other data.
    """
    format = format or format_of(path)
    if job is not None and not format.many_jobs:
        raise UsageError(f"--job picks one of a database's jobs, and {path!r} is no database: leave it out")
    return Results(path, format, *format.about(path, job, sources))
