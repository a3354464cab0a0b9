"""`pigeonhole report`: a job or a file of rows → a page beside it."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobStatus
from pigeonhole.output_files import remove
from pigeonhole.replacing import check_own, is_our_page
from pigeonhole.settings import Settings
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.registry import format_of, read_results
from pigeonhole.text import counted
from pigeonhole.version import install_hint
from producer.report.page import Facts, Links, Thumbnails, Written, write

#: Said where the reader of images is not installed.
NO_PILLOW = (
    "Pillow and numpy are not installed: the report links to the images and embeds no thumbnails; "
    f"`{install_hint('report')}` brings both"
)


def names_file(what: str) -> bool:
    """Return whether a JOB|FILE is a file: it is there, or is spelled as no job is."""
    if os.path.lexists(what) or os.sep in what:
        return True
    try:
        format_of(what)
    except UsageError:
        return False
    return True


def of_file(path: str, job: str | None, format: Format | None = None) -> tuple[Facts, Iterable[Row]]:
    """Return the facts about the rows in a file, and the rows.

    Args:
        path: of the file.
        job: of those in a database; None: the last.
        format: how the rows are written; None: as the file's extension says.

    Raises:
        UsageError: it holds no results, or a job is picked where there is no choice.
    """
    results = read_results(path, job, format)
    return Facts.of(path, results.job), results


def of_job(status: JobStatus, rows: Iterable[Row]) -> tuple[Facts, Iterable[Row]]:
    """Return the facts about the rows of a job in Redis, and the rows."""
    return Facts.of(f"job {status.job}", status), rows


def check(output: str, images: str, overwrite: bool = False) -> None:
    """Raise UsageError where a report can't be meant: above all one that would replace something else."""
    if not output.endswith((".html", ".htm")):
        raise UsageError(f"{output!r} is no name for a report: end it with .html")
    if not os.path.isdir(images):
        raise UsageError(f"--images {images!r} is no folder: name the one where the relative paths of the rows begin")
    check_own(output, is_our_page, overwrite)


def thumbnails_below(images: str, settings: Settings) -> Thumbnails | None:
    """Return what makes thumbnails; None where Pillow or numpy is not installed."""
    try:
        from producer.report import thumbnails
    except ModuleNotFoundError as exc:
        if exc.name not in ("PIL", "numpy"):
            raise
        return None
    return thumbnails.Thumbnails(images, settings)


def make(
    output: str,
    origin: tuple[Facts, Iterable[Row]],
    images: str,
    thumbnails: Thumbnails | None,
    limit: int,
    csv_safe: bool = False,
) -> Written:
    """Write a report; it takes its place when it is whole.

    Args:
        output: its path.
        origin: what is known of the rows, and the rows.
        images: the folder where their relative paths begin.
        thumbnails, limit, csv_safe: as `write` has them.

    Raises:
        OutputFailed: it can't be written.
        UsageError: the rows can't be read.
    """
    facts, rows = origin
    with _whole(output) as file:
        return write(file, rows, facts, Links.between(output, images), time.time(), thumbnails, limit, csv_safe)


def said(output: str, written: Written) -> str:
    """Return in words what a report holds."""
    unreadable = f", {written.unreadable:,} can't be read" if written.unreadable else ""
    return f"{output}: {counted(written.rows, 'image')}, {counted(written.embedded, 'thumbnail')} embedded{unreadable}"


@contextmanager
def _whole(path: str) -> Iterator[BinaryIO]:
    part = path + ".part"
    try:
        with open(part, "wb") as file:
            yield file
        os.replace(part, path)
    except OSError as exc:
        remove(part)
        raise OutputFailed(f"{path!r} can't be written: {exc.strerror}; choose another place with -o") from exc
    except BaseException:
        remove(part)
        raise
