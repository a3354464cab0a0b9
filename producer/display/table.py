"""A sink that prints rows as a table."""

import sys
from collections.abc import Sequence

from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.text import printable

#: Number of rows to show.
TABLE_ROWS = 20


class Table:
    """Shows the first rows as a table on standard output.

    Args:
        top: whether to show the most probable classes of each row.
    """

    def __init__(self, top: bool = False) -> None:
        self._top = top
        self._rows: list[Row] = []
        self._more = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Keep the rows to show."""
        room = TABLE_ROWS - len(self._rows)
        self._rows.extend(rows[:room])
        self._more += max(0, len(rows) - max(0, room))

    def finish(self, job: JobStatus | None = None) -> None:
        """Print the table."""
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, header_style="bold")
        table.add_column("path", overflow="fold")
        table.add_column("label", min_width=5, overflow="fold")
        table.add_column("confidence", min_width=10, justify="right")
        table.add_column("review", min_width=6)
        table.add_column("error", overflow="fold")
        if self._top:
            table.add_column("top", overflow="fold")
        for row in self._rows:
            confidence = "" if row.confidence is None else f"{row.confidence:.4f}"
            cells = (printable(row.path), row.label, confidence, "yes" * row.review, row.error)
            top = [", ".join(f"{label} {p:.4f}" for label, p in row.top)] if self._top else []
            table.add_row(*(Text(printable(cell)) for cell in (*cells, *top)), style="red" if row.error else "")
        console = Console(file=sys.stdout)
        console.print(table)
        if self._more:
            console.print(f"… and {self._more:,} more rows; -o FILE keeps all of them", style="dim")
