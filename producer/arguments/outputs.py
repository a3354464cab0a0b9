"""Chooses the sinks of a command by its options; raises errors before anything runs."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import typer

from pigeonhole.errors import ExitCode, UsageError
from pigeonhole.filesystem.output_files import descriptor, is_special, target
from pigeonhole.jobs.ownership import OwnFile, open_state
from pigeonhole.jobs.state import Command, State
from pigeonhole.sinks.csv_rows import Csv, SafeCsv
from pigeonhole.sinks.file import File
from pigeonhole.sinks.format import Format, LineFormat
from pigeonhole.sinks.registry import FORMATS, format_of
from pigeonhole.sinks.sink import Sink, Stream
from pigeonhole.sources.members.archives import archive_kind
from producer.arguments.options import Links
from producer.command import notify
from producer.display.table import Table

if TYPE_CHECKING:
    from pigeonhole.sinks.folders.sorting import Sorter


def row_format(
    output: str | None,
    format: Format | None,
    csv_safe: bool = False,
    sort_into: str | None = None,
    top: int | None = None,
) -> Format | None:
    """Return the format of the rows, or None for a table; raise UsageError if the format can't be used.

    Args:
        output, format, csv_safe, sort_into, top: the options of those names.
    """
    format = _row_format(output, format)
    if format is FORMATS["csv"]:
        return (SafeCsv if csv_safe else Csv)(top or 0) if csv_safe or top else format
    if csv_safe and sort_into is None:
        raise UsageError("--csv-safe needs CSV: end FILE with .csv, or give --format csv")
    return format


def check_place_of_rows(output: str | None, sort_into: str | None, as_json: bool) -> None:
    """Raise UsageError if `--json` would print a summary and drop the rows."""
    if as_json and output is None and sort_into is None:
        raise UsageError(
            "--json prints a summary, so the rows need a file: add -o results.csv. For rows as JSON lines, give "
            "--format jsonl instead of --json"
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
            f"{where} can't take {format.extensions[0]}: name a file with -o FILE, or choose --format {lines}"
        )
    return format


def state_for(
    output: str | None, format: Format | None, command: Command, overwrite: bool, retry_errors: bool = False
) -> State:
    """Lock FILE for a command and return its resume state; a temporary one if the rows do not go to a file.

    Args:
        output: the option `--output`.
        format: the format of the rows; None: a table.
        command: the command that will own FILE.
        overwrite: the option `--overwrite`.
        retry_errors: the option `--retry-errors`.
    """
    if output is None or format is None or is_special(output):
        return State.temporary()
    return open_state(output, command, format, overwrite, retry_errors, notify)


@contextmanager
def sink_for(
    output: str | None, format: Format | None, state: State, as_json: bool = False, top: bool = False
) -> "Iterator[Sink | None]":
    """Open the sink for a command's rows; yield None if only the summary is printed, as JSON.

    Args:
        output: the option `--output`.
        format: the format of the rows; None: a table.
        state: the command's resume state, from `state_for`.
        as_json: the option `--json`.
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
    """Yield the sorter for `--sort-into`, or None without that option; print its report if the command succeeds.

    If an image with a label can't be sorted, the command ends with exit code 3.

    Args:
        folder: the option `--sort-into`.
        link: the option `--link`.
        copy: the option `--copy`.
        quiet: the option `--quiet`.
        sources: the SOURCEs; DIR may not lie in one of them.
        csv_safe: the option `--csv-safe`.
    """
    if folder is None:
        if link or copy:
            raise UsageError("--link and --copy need --sort-into DIR: give it too")
        yield None
        return
    if link and copy:
        raise UsageError("--link and --copy exclude each other: give one of them")
    for source in filter(os.path.isdir, sources):
        if os.path.join(os.path.realpath(folder), "").startswith(os.path.join(os.path.realpath(source), "")):
            raise UsageError(f"{folder!r} lies in {source!r} and would be classified too: choose another DIR")
    from pigeonhole.sinks.folders.sorting import Sorter

    with closing(Sorter(folder, "copy" if copy else (link or Links.symbolic).value, csv_safe)) as sorter:
        if link is Links.hard:
            _check_device(folder, sources)
        yield sorter
        if not quiet:
            notify(sorter.report())
        if sorter.failed:
            raise typer.Exit(ExitCode.ERROR_ROWS)


def _check_device(folder: str, sources: Sequence[str]) -> None:
    """Raise UsageError if DIR and a SOURCE are on different file systems, between which hard links are impossible."""
    for source in sources:
        if os.path.exists(source) and not archive_kind(source) and os.stat(source).st_dev != os.stat(folder).st_dev:
            raise UsageError(
                f"{folder!r} and {source!r} are on different file systems, so hard links are impossible: give --copy, "
                "or choose another DIR"
            )
