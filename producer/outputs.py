"""The sinks of a command, by its options; errors are raised before anything runs."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import typer

from pigeonhole.errors import ExitCode, UsageError
from pigeonhole.jobs.ownership import OwnFile, open_state
from pigeonhole.jobs.state import Command, State
from pigeonhole.output_files import descriptor, is_special, target
from pigeonhole.sinks.csv_rows import Csv, SafeCsv
from pigeonhole.sinks.file import File
from pigeonhole.sinks.format import Format, LineFormat
from pigeonhole.sinks.registry import FORMATS, format_of
from pigeonhole.sinks.sink import Sink, Stream
from pigeonhole.sources.archives import archive_kind
from producer.command import notify
from producer.options import Links
from producer.table import Table

if TYPE_CHECKING:
    from pigeonhole.sinks.sorting import Sorter


def row_format(
    output: str | None,
    format: Format | None,
    csv_safe: bool = False,
    sort_into: str | None = None,
    top: int | None = None,
) -> Format | None:
    """Return the format of the rows, None for a table; raise an error, before anything starts, if it can't be used.

    Args:
        output, format, csv_safe, sort_into, top: the options.
    """
    format = _row_format(output, format)
    if format is FORMATS["csv"]:
        return (SafeCsv if csv_safe else Csv)(top or 0) if csv_safe or top else format
    if csv_safe and sort_into is None:
        raise UsageError("--csv-safe is about CSV: end FILE with .csv, or give --format csv")
    return format


def check_place_of_rows(output: str | None, sort_into: str | None, as_json: bool) -> None:
    """Raise UsageError if the summary as JSON would stand in the place of all rows."""
    if as_json and output is None and sort_into is None:
        raise UsageError(
            "--json prints a summary, and the rows need a place: add -o results.csv. For the rows as JSON lines, give "
            "--format jsonl in place of --json"
        )


def _row_format(output: str | None, format: Format | None) -> Format | None:
    if format is None and output is not None and (descriptor(output) is None or os.path.splitext(output)[1]):
        format = format_of(output)
    if format is None and (output is not None or not sys.stdout.isatty()):
        format = FORMATS["csv"]
    if format is None:
        return None
    if output is not None and not is_special(output):
        format.check(target(output))
    elif not isinstance(format, LineFormat):
        where = "standard output" if output is None else repr(output)
        lines = " or ".join(name for name, one in FORMATS.items() if isinstance(one, LineFormat))
        raise UsageError(
            f"{where} can't take a {format.extensions[0]}: name a file with -o FILE, or choose --format {lines}"
        )
    return format


def state_for(
    output: str | None, format: Format | None, command: Command, overwrite: bool, retry_errors: bool = False
) -> State:
    """Lock FILE for a command and return its state; a temporary state if rows go elsewhere.

    Args:
        output: the option.
        format: of the rows.
        command: that will own FILE.
        overwrite: the option.
        retry_errors: the option.
    """
    if output is None or format is None or is_special(output):
        return State.temporary()
    return open_state(output, command, format, overwrite, retry_errors, notify)


@contextmanager
def sink_for(
    output: str | None, format: Format | None, state: State, as_json: bool = False, top: bool = False
) -> "Iterator[Sink | None]":
    """Open the sink of a command's rows; None if the summary as JSON stands in their place.

    Args:
        output: the option.
        format: of the rows; None: a table.
        state: of the command, from `state_for`.
        as_json: the option.
        top: whether a table shows the most probable classes.
    """
    if format is None:
        yield Table(top)
    elif output is None:
        yield None if as_json else Stream(sys.stdout.buffer, format.lines)
    elif is_special(output):
        yield File(output, format)
    else:
        with closing(OwnFile(output, format, state)) as file:
            yield file


@contextmanager
def sorting(
    folder: str | None,
    link: Links | None,
    copy: bool,
    quiet: bool,
    sources: Sequence[str] = (),
    csv_safe: bool = False,
) -> "Iterator[Sorter | None]":
    """Return the sorter of `--sort-into`, if that was given; report what it did if the command succeeds.

    If an image with a label can't be sorted, the command ends with exit code 3.

    Args:
        folder: the option `--sort-into`.
        link: the option `--link`.
        copy: the option `--copy`.
        sources: SOURCEs, which DIR may not lie in.
        csv_safe: the option.
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
    from pigeonhole.sinks.sorting import Sorter

    with closing(Sorter(folder, "copy" if copy else (link or Links.symbolic).value, csv_safe)) as sorter:
        if link is Links.hard:
            _check_device(folder, sources)
        yield sorter
        if not quiet:
            notify(sorter.report())
        if sorter.failed:
            raise typer.Exit(ExitCode.ERROR_ROWS)


def _check_device(folder: str, sources: Sequence[str]) -> None:
    """Raise UsageError if DIR and a SOURCE lie on two file systems, where no hard link is possible."""
    for source in sources:
        if os.path.exists(source) and not archive_kind(source) and os.stat(source).st_dev != os.stat(folder).st_dev:
            raise UsageError(
                f"{folder!r} and {source!r} lie on two file systems, and no hard link leads from one to the other: "
                "give --copy, or choose another DIR"
            )
