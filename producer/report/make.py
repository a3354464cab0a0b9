"""Makes the page of `pigeonhole report` from a job or from a file of rows."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.filesystem.output_files import remove
from pigeonhole.filesystem.replacing import check_own, is_our_page
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.settings import Settings
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.registry import format_of, read_results
from pigeonhole.text import counted
from pigeonhole.version import install_hint
from producer.report.facts import Facts
from producer.report.file_facts import FileFacts
from producer.report.page import Links, Options, Thumbnails, Written, write
from producer.report.truth import truth_of

#: The message if the packages to read images are not installed.
NO_PILLOW = (
    "Pillow and numpy are not installed: the report links to the images and embeds no thumbnails; "
    f"`{install_hint('report')}` brings both"
)


def names_file(what: str) -> bool:
    """Return whether a JOB|FILE is a file: it exists, or its name can't be that of a job."""
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
        path: path of the file.
        job: id of a job in a database; None: the last one.
        format: format of the rows; None: by the file's extension.

    Raises:
        UsageError: the file has no rows, or a job is chosen although the file is no database.
    """
    results = read_results(path, job, format)
    return Facts.of(path, results.job), results


def of_job(status: JobStatus, rows: Iterable[Row]) -> tuple[Facts, Iterable[Row]]:
    """Return the facts about the rows of a job in Redis, and the rows."""
    return Facts.of(f"job {status.job}", status), rows


def check(output: str, images: str, overwrite: bool = False) -> None:
    """Raise UsageError if the name or the folder is wrong, or the report would replace another file."""
    if not output.endswith((".html", ".htm")):
        raise UsageError(f"{output!r} does not end with .html: choose another name for the report")
    if not os.path.isdir(images):
        raise UsageError(f"--images {images!r} is not a folder: name the one that the rows' paths are relative to")
    check_own(output, is_our_page, overwrite)


def thumbnails_below(images: str, settings: Settings) -> Thumbnails | None:
    """Return the maker of thumbnails; None if Pillow or numpy is not installed."""
    try:
        from producer.report import thumbnails
    except ModuleNotFoundError as exc:
        if exc.name not in ("PIL", "numpy"):
            raise
        return None
    return thumbnails.Thumbnails(images, settings)


def options_of(images: str, small: Thumbnails | None, limit: int, csv_safe: bool, truth: str | None) -> Options:
    """Return the options of a report.

    Args:
        images: the folder that the rows' paths are relative to.
        small: makes thumbnails; None if Pillow or numpy is not installed.
        limit: the number of thumbnails; with 0, no image file is read.
        csv_safe: whether exports are safe for spreadsheets.
        truth: the value of `--truth`; None: there are no true labels.

    Raises:
        UsageError: the true labels can't be read.
    """
    return Options(
        thumbnails=small,
        limit=limit,
        csv_safe=csv_safe,
        truth=None if truth is None else truth_of(truth, images),
        files=FileFacts(images) if limit else None,
    )


def make(output: str, origin: tuple[Facts, Iterable[Row]], images: str, options: Options) -> Written:
    """Write a report to a temporary file, and rename it when it is complete.

    Args:
        output: path of the report.
        origin: the facts about the rows, and the rows.
        images: the folder that the rows' paths are relative to.
        options: thumbnails, true labels and other options.

    Raises:
        OutputFailed: the report can't be written.
        UsageError: the rows can't be read, or have no true label.
    """
    facts, rows = origin
    with _replacing(output) as file:
        return write(file, rows, facts, Links.between(output, images), time.time(), options)


def written_text(output: str, written: Written) -> str:
    """Return the numbers of images and thumbnails in a report as text."""
    unreadable = f", {written.unreadable:,} can't be read" if written.unreadable else ""
    return f"{output}: {counted(written.rows, 'image')}, {counted(written.embedded, 'thumbnail')} embedded{unreadable}"


def hint(images: str, written: Written) -> str:
    """Return the advice to name another image folder; empty if at least half of the images were found."""
    if 2 * written.missing <= written.looked_up:
        return ""
    which = f"{written.missing:,} of {counted(written.looked_up, 'image')}"
    return f"{which} not found below {images!r}: give --images FOLDER, the folder where `classify` ran"


@contextmanager
def _replacing(path: str) -> Iterator[BinaryIO]:
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
