"""The option `--max-errors`: a run that goes wrong as a whole ends early."""

import re
from dataclasses import dataclass

from pigeonhole.errors import PigeonholeError, UsageError
from pigeonhole.jobs.summary import Summary
from pigeonhole.text import printable

_SPELLED = re.compile(r"(\d{1,12})|(\d{1,2}(?:\.\d{1,6})?|100)%")


@dataclass(frozen=True)
class MaxErrors:
    """How many rows may be errors.

    Args:
        most: a number of rows, or percent of all images.
        percent: which of the two.
    """

    most: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> "MaxErrors":
        """Parse a number of rows, `100`, or percent of all images, `2.5%`; raise UsageError for anything else."""
        match = _SPELLED.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is neither a number of rows, such as 100, nor a percentage from 0% to 100%")
        rows, percent = match.groups()
        return cls(int(rows)) if percent is None else cls(float(percent), percent=True)

    def __str__(self) -> str:
        return f"{self.most:g}%" if self.percent else f"{self.most:.0f}"

    def check(self, summary: Summary, images: int | None) -> None:
        """Raise PigeonholeError if there are more errors.

        Args:
            summary: of all rows so far.
            images: how many there will be; None if that is not known yet, and no percentage is exceeded for certain.
        """
        errors = summary.errors.total()
        most = self.most if not self.percent else None if images is None else self.most * images / 100
        if most is None or errors <= most:
            return
        kind, rows = summary.errors.most_common(1)[0]
        raise PigeonholeError(
            f"{errors:,} of {summary.images:,} rows are errors, and --max-errors is {self}: {rows:,} are {kind!r}, for "
            f"instance {printable(summary.examples[kind])!r}. Mend that; `classify --retry-errors` tries them again"
        )
