"""The options of a run that decide its rows: one object from the command line to the follower."""

from dataclasses import dataclass

from pigeonhole.errors import UsageError


@dataclass(frozen=True)
class RowOptions:
    """What the user asks of rows.

    Args:
        review_below: the confidence, from 0 to 1, under which a row is marked for review; None: as the model decides.

    Raises:
        UsageError: a value can't be used.
    """

    review_below: float | None = None

    def __post_init__(self) -> None:
        if self.review_below is not None and not 0 <= self.review_below <= 1:
            raise UsageError(f"{self.review_below} is no confidence: rows are marked for review under one from 0 to 1")

    def words(self) -> list[str]:
        """Return the words that say the same on the command line."""
        return [] if self.review_below is None else ["--review-below", str(self.review_below)]


#: Rows as the model decides.
DEFAULT = RowOptions()
