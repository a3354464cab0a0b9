"""Where a command's rows go, by its options; told before anything runs if they can't go there."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import typer

from pigeonhole.errors import ExitCode, UsageError
from pigeonhole.jobs.options import DEFAULT, RowOptions
from pigeonhole.output_files import descriptor, is_special, target
from pigeonhole.sinks.rows import Format, format_of
from pigeonhole.sinks.sinks import File, Sink, Stream, Tee
from pigeonhole.sources.archives import archive_kind
from producer.command import say
from producer.options import Links
from producer.table import Table

if TYPE_CHECKING:
    from pigeonhole.sinks.sorting import Sorter


def row_format(output: str | None, format: Format | None) -> Format | None:
    """Give the format of the rows, None for a table; told before anything is started if they can't be written so."""
    if format is None and output is not None and (descriptor(output) is None or os.path.splitext(output)[1]):
        format = format_of(output)
    if format is None and (output is not None or not sys.stdout.isatty()):
        format = Format.csv
    if format is not None and not format.is_lines:
        _check_file(output, format)
    return format


def _check_file(output: str | None, format: Format) -> None:
    """Raise what keeps us from writing a file that can't be written a line at a time."""
    from pigeonhole.sinks.results import check

    if output is None or is_special(output):
        where = "standard output" if output is None else repr(output)
        raise UsageError(f"{where} can't take a .{format}: name a file with -o FILE, or choose --format csv or jsonl")
    check(target(output), format)


def run_sink(output: str | None, format: Format | None, as_json: bool) -> Sink | None:
    """Give where a run's rows go that begins with none; None: the summary stands in their place."""
    if output is None and as_json:
        return None
    return _plain_sink(output, format)


def sink_of_job(output: str | None, format: Format | None, job: str | None, options: RowOptions = DEFAULT) -> Sink:
    """Give where rows go that do not take the place of what an interrupted `classify` has left there.

    Args:
        output, format: as the options.
        job: whose rows all come, after those that `classify` had kept there before them; None: they are only some.
        options: as those of the rows that were kept.
    """
    if format is None or output is None or is_special(output):
        return _plain_sink(output, format)
    from pigeonhole.jobs.journal import of_job
    from pigeonhole.jobs.kept import Kept, opened

    return opened(output, format, Kept(of_job(output, job, format, options), goes_on=lambda job: True))


def _plain_sink(output: str | None, format: Format | None) -> Sink:
    if format is None:
        return Table()
    return Stream(sys.stdout.buffer, format) if output is None else File(output, format)


@contextmanager
def sorting(
    folder: str | None, link: Links | None, copy: bool, quiet: bool, sources: Sequence[str] = ()
) -> "Iterator[Sorter | None]":
    """Give what sorts images into a folder, if there is one, and say what it did when all went well.

    Where it could not sort an image, the command ends as with error rows.

    Args:
        folder, link, copy: as the options.
        sources: what is classified.
    """
    if folder is None:
        if link or copy:
            raise UsageError("--link and --copy say how --sort-into DIR sorts: give that too")
        yield None
        return
    if link and copy:
        raise UsageError("--link and --copy are two ways to sort: give one of them")
    for source in filter(os.path.isdir, sources):
        if os.path.join(os.path.realpath(folder), "").startswith(os.path.join(os.path.realpath(source), "")):
            raise UsageError(f"{folder!r} lies in {source!r}, and would be classified too: choose another DIR")
    if link is Links.hard:
        _check_device(folder, sources)
    from pigeonhole.sinks.sorting import Means, Sorter

    with closing(Sorter(folder, Means.copy if copy else Means(link or Links.symbolic))) as sorter:
        yield sorter
        if not quiet:
            say(sorter.told())
        if sorter.failed:
            raise typer.Exit(ExitCode.ERROR_ROWS)


def _check_device(folder: str, sources: Sequence[str]) -> None:
    """Raise that no hard link leads from DIR to a SOURCE, as far as that is known by now."""
    there = os.path.realpath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    device = os.stat(there).st_dev
    for source in sources:
        if os.path.exists(source) and not archive_kind(source) and os.stat(source).st_dev != device:
            raise UsageError(
                f"{folder!r} and {source!r} lie on two file systems, and no hard link leads from one to the other: "
                "give --copy, or choose another DIR"
            )


def sorted_too(sink: Sink | None, sorter: "Sorter | None") -> Sink | None:
    """Have what sorts images take a sink's rows too, with those that it began with."""
    if sorter is None:
        return sink
    if sink is None:
        return sorter
    if isinstance(sink, File):
        kept = sink.kept()
        while rows := list(islice(kept, 1000)):
            sorter.write(rows)
    return Tee(sink, sorter)
