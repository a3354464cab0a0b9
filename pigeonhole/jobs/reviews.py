"""The user's own threshold for review, in place of the checkpoint's: `review` then says that confidence is under it."""

from pigeonhole.errors import UsageError
from pigeonhole.ledger.messages import Prediction


def check(review_below: float | None) -> None:
    """Raise UsageError if a threshold is no confidence."""
    if review_below is not None and not 0 <= review_below <= 1:
        raise UsageError(f"{review_below} is no confidence: rows are marked for review under one from 0 to 1")


def decided(row: Prediction, review_below: float | None) -> Prediction:
    """Give a row that was made before, as the threshold decides it; None: as it is."""
    if review_below is None or row.confidence is None:
        return row
    return row._replace(review=row.confidence < review_below)


def option(review_below: float | None) -> list[str]:
    """Give the words that say it on the command line."""
    return [] if review_below is None else ["--review-below", str(review_below)]
