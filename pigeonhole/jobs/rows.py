"""The rows of a job for Python programs."""

import operator
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, SupportsIndex, overload

from pigeonhole.errors import UsageError
from pigeonhole.jobs.summary import Summary
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.text import counted
from pigeonhole.version import install_hint

if TYPE_CHECKING:
    import pandas
    import pyarrow


class Rows:
    """The rows of a job, in the order of submission, as they arrive.

    Each iteration reads the job from its first row, and keeps no rows in memory. An index or a slice waits for the rows
    up to the last one that it needs, and keeps these in memory.

    Args:
        job: the job's id.
        batches: returns an iterator over the job's rows, a batch at a time.
        size: returns the number of rows, which is known before all rows are; None: rows are read and counted.

    Attributes:
        summary: the counters of the rows that the latest iteration has yielded so far.
    """

    def __init__(
        self, job: str, batches: Callable[[], Iterator[list[Row]]], size: Callable[[], int] | None = None
    ) -> None:
        self.job = job
        self.summary = Summary()
        self._batches = batches
        self._size = size
        self._kept = list[Row]()
        self._more: Iterator[list[Row]] | None = None

    def __iter__(self) -> Iterator[Row]:
        return chain.from_iterable(self.batches())

    def __len__(self) -> int:
        """Wait until the job's images are all submitted, and return their number."""
        return sum(map(len, self._batches())) if self._size is None else self._size()

    def __bool__(self) -> bool:
        """Wait for the first row, and return whether there is one."""
        return self._keep(1)

    @overload
    def __getitem__(self, at: SupportsIndex) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> Row | list[Row]:
        """Wait for one row or those of a slice, and return it or them; a negative index waits for all rows."""
        if isinstance(at, slice):
            self._keep(_needed(at))
            return self._kept[at]
        number = operator.index(at)
        if not self._keep(None if number < 0 else number + 1) and not -len(self._kept) <= number < 0:
            raise IndexError(f"there is no row {number}: the job has {counted(len(self._kept), 'row')}")
        return self._kept[number]

    def __repr__(self) -> str:
        counts = self.summary
        if not counts.images:
            return f"<Rows of job {self.job}>"
        errors = counted(counts.errors.total(), "error")
        return f"<Rows of job {self.job}: {counts.images:,} read, {errors}, {counts.reviews:,} to review>"

    def batches(self) -> Iterator[list[Row]]:
        """Yield the rows a batch at a time, which is faster for large jobs."""
        summary = self.summary = Summary()
        for rows in self._batches():
            summary.add(rows)
            yield rows

    def to_arrow(self) -> "pyarrow.Table":
        """Return all rows as an Arrow table, with the columns and types of Parquet files that `-o` writes.

        Raises:
            UsageError: pyarrow is not installed.
        """
        try:
            from pigeonhole.sinks.arrow import table
        except ImportError as exc:
            raise UsageError(f"to_arrow() needs pyarrow: {install_hint('parquet')}") from exc
        return table(self.batches())

    def to_pandas(self) -> "pandas.DataFrame":
        """Return all rows as a table with the columns of `Row`; an image with an error has no label.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as exc:
            raise UsageError(f"to_pandas() needs pandas: {install_hint('pandas')}") from exc
        # With explicit types: pandas would guess them, and fail at a path that is not UTF-8.
        values = list(zip(*self, strict=True)) or [()] * len(Row._fields)
        kinds = {"confidence": "float64", "unknown": "float64", "review": bool}
        columns = {
            name: pandas.Series(column, dtype=kinds.get(name, object))
            for name, column in zip(Row._fields, values, strict=True)
        }
        columns["label"] = columns["label"].replace("", None)
        return pandas.DataFrame(columns)

    def _keep(self, number: int | None) -> bool:
        """Read and keep the first `number` rows, and return whether there are that many; None: all; return False."""
        if self._more is None:
            self._more = self._batches()  # without `summary`, which counts iterations only
        try:
            while number is None or len(self._kept) < number:
                rows = next(self._more, None)
                if rows is None:
                    return False
                self._kept += rows
        except BaseException:
            self._more, self._kept = None, []  # the next call reads again from the first row
            raise
        return True


def _needed(part: slice) -> int | None:
    """Return the number of first rows that contain a slice; None: it may need all rows."""
    start, stop, step = (
        None if bound is None else operator.index(bound) for bound in (part.start, part.stop, part.step)
    )
    if (step or 1) < 0 or stop is None or stop < 0 or (start or 0) < 0:
        return None
    return stop
