"""Finished results, read back: one way for every format that rows are written in."""

from collections.abc import Iterator

from producer.rows import Format, format_of, read
from worker.contract.errors import UsageError
from worker.contract.jobs import JobStatus
from worker.contract.messages import Prediction


class Results:
    """The rows of a finished run, in their order, as often as they are asked for; see `read_results`.

    Attributes:
        path: of the file.
        format: how it was written.
        job: what the file says of the job, with the counts of the rows that it has; None where it says nothing, as CSV
            and JSON lines do.
    """

    def __init__(self, path: str, format: Format, job: JobStatus | None) -> None:
        self.path = path
        self.format = format
        self.job = job

    def __iter__(self) -> Iterator[Prediction]:
        """Give the rows, one at a time; CSV has no `top`.

        Raises:
            UsageError: the file can't be read, or something in it is no row of ours.
        """
        return _from_lines(self.path, self.format)


def read_results(path: str, job: str | None = None, format: Format | None = None) -> Results:
    """Find the results in a file that `-o FILE` made.

    Args:
        path: of FILE.
        job: of those in a database; None: the one that was written last.
        format: None: what the path ends with.

    Raises:
        UsageError: there is no such file or job in it, or it holds no results.
    """
    format = format or format_of(path)
    try:
        with open(path, "rb"):
            return Results(path, format, None)
    except OSError as exc:
        raise _unreadable(path, exc) from exc


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
