"""The option `--max-errors`, which ends a run early if too many rows are errors."""

import re
from dataclasses import dataclass

from pigeonhole.errors import PigeonholeError, UsageError
from pigeonhole.jobs.summary import Summary
from pigeonhole.text import printable

_SPELLED = re.compile(r"(\d{1,12})|(\d{1,2}(?:\.\d{1,6})?|100)%")


@dataclass(frozen=True)
class MaxErrors:
    """The limit of error rows.

    Args:
        most: the limit, as a number of rows or in percent of all images.
        percent: whether `most` is in percent.
    """

    most: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> "MaxErrors":
        """Parse a number of rows such as `100`, or a percentage such as `2.5%`; raise UsageError for other text."""
        match = _SPELLED.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is neither a number of rows, such as 100, nor a percentage from 0% to 100%")
        rows, percent = match.groups()
        return cls(int(rows)) if percent is None else cls(float(percent), percent=True)

    def __str__(self) -> str:
        return f"{self.most:g}%" if self.percent else f"{self.most:.0f}"

    def check(self, summary: Summary, images: int | None) -> None:
        """Raise PigeonholeError if there are more error rows than allowed.

        Args:
            summary: summary of all rows so far.
            images: the final number of rows; None if it is not known yet, so that a percentage can't be checked.
        """
        errors = summary.errors.total()
        most = self.most if not self.percent else None if images is None else self.most * images / 100
        if most is None or errors <= most:
            return
        kind, rows = summary.errors.most_common(1)[0]
        raise PigeonholeError(
            f"{errors:,} of {summary.images:,} rows are errors, and --max-errors is {self}: {rows:,} are {kind!r}, for "
            f"instance {printable(summary.examples[kind])!r}. Fix the cause; `classify --retry-errors` tries them again"
        )
