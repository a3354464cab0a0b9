"""The table of `status`, which fits the terminal; ids are never cut."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.workers import Announcement
from pigeonhole.text import printable, span

#: Cells between two columns, and in a narrow terminal.
_GAP, _SHORT_GAP = 2, 1
#: Shorter headers for a narrow terminal.
_SHORT = {"errors": "err", "review": "rev"}
#: Columns that are cut in a narrow terminal → their minimal width in cells.
_FLEXIBLE = {"source": 6, "model": 6}
#: Columns that are dropped in a very narrow terminal, in this order.
_OPTIONAL = ("img/s", "review", "source", "workers", "errors", "model", "age", "images", "state")
#: Units of an age: seconds, minutes, hours and days.
_UNITS = ("s", "m", "h", "d")
_TEXTS = ("job", "state", "age", "model", "source")
_STYLES = {JobState.QUEUED: "yellow", JobState.RUNNING: "green", JobState.UNREADABLE: "red"}


@dataclass(frozen=True)
class _Column:
    """A column: its name, its header, and its cells as text."""

    name: str
    header: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        """The width of the longest text in cells."""
        return max(map(cell_len, (self.header, *self.cells)))


def jobs_table(statuses: Sequence[JobStatus], workers: Iterable[Announcement], width: int | None) -> Table:
    """Return a table of jobs.

    Args:
        statuses: statuses of the jobs, in the order of the lines.
        workers: all live workers.
        width: width of the terminal in cells; None: unlimited.
    """
    at_work = Counter(worker.model for worker in workers)
    columns, gap = _columns(statuses, at_work, short=False), _GAP
    if width is not None:
        if _least(columns, gap) > width:
            columns, gap = _columns(statuses, at_work, short=True), _SHORT_GAP
        for name in _OPTIONAL:
            if _least(columns, gap) > width:
                columns = [column for column in columns if column.name != name]
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    widths = _widths(columns, gap, width)
    for column in columns:
        justify = "left" if column.name in _TEXTS else "right"
        table.add_column(column.header, justify=justify, no_wrap=True, width=widths[column.name])  # type: ignore[arg-type]
    for status, *cells in zip(statuses, *(column.cells for column in columns), strict=True):
        table.add_row(
            *(
                Text(_cut(name, cell, widths[name]), _STYLES.get(status.state, "") if name == "state" else "")
                for name, cell in zip(widths, cells, strict=True)
            )
        )
    return table


def sources_text(sources: Sequence[str], most: int = 1) -> str:
    """Return the first SOURCEs and the number of the others, such as `photos +20`."""
    more = len(sources) - most
    return " ".join(sources[:most]) + (f" +{more:,}" if more > 0 else "")


def progress_text(status: JobStatus, short: bool = False) -> str:
    """Return the numbers of done and of all images, such as `1,500/2,000`; `…` means that the total still grows."""
    return f"{_count(status.done, short)}/{_count(status.images, short)}{'…' if status.submitting else ''}"


def _columns(statuses: Sequence[JobStatus], workers: "Counter[str]", short: bool) -> list[_Column]:
    def column(name: str, cell: Callable[[JobStatus], str]) -> _Column:
        header = _SHORT.get(name, name) if short else name
        return _Column(name, header, tuple(printable(cell(status)) for status in statuses))

    def known(name: str, cell: Callable[[JobStatus], str]) -> _Column:
        """Return a column whose cells are empty for the unreadable jobs of other versions."""
        return column(name, lambda status: "" if status.state is JobState.UNREADABLE else cell(status))

    return [
        column("job", lambda status: status.job),
        column("state", lambda status: status.state),
        known("age", lambda status: span(status.age, _UNITS)),
        known("model", lambda status: status.model),
        known("source", lambda status: sources_text(status.sources)),
        known("images", lambda status: progress_text(status, short)),
        known("img/s", lambda status: _speed(status, short)),
        known("errors", lambda status: _count(status.errors, short)),
        known("review", lambda status: _count(status.reviews, short)),
        known("workers", lambda status: "" if status.over else _count(workers[status.model], short)),
    ]


def _least(columns: Sequence[_Column], gap: int) -> int:
    """Return the minimal width of a line of these columns in cells."""
    widths = (min(column.width, _FLEXIBLE.get(column.name, column.width)) for column in columns)
    return sum(widths) + gap * (len(columns) - 1)


def _widths(columns: Sequence[_Column], gap: int, width: int | None) -> dict[str, int]:
    """Return the width of each column; in a narrow terminal, sources are cut first, then models."""
    widths = {column.name: column.width for column in columns}
    over = 0 if width is None else sum(widths.values()) + gap * (len(columns) - 1) - width
    for name, least in _FLEXIBLE.items():
        if name in widths and over > 0:
            cut = max(0, min(over, widths[name] - least))
            widths[name] -= cut
            over -= cut
    return widths


def _cut(name: str, cell: str, width: int) -> str:
    """Shorten a text to a width; a source keeps its end, where file names are."""
    if cell_len(cell) <= width:
        return cell
    from_end = name == "source"
    while cell and cell_len(cell) > width - 1:
        cell = cell[1:] if from_end else cell[:-1]
    return f"…{cell}" if from_end else f"{cell}…"


def _count(number: int, short: bool) -> str:
    if not short or number < 10_000:
        return f"{number:,}"
    return f"{number / 1000:.0f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


def _speed(status: JobStatus, short: bool) -> str:
    speed = status.images_per_second
    return "" if speed is None else _count(round(speed), short)
