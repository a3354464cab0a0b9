"""The options of a run that decide its rows: one object from the command line to the follower."""

from dataclasses import dataclass

from pigeonhole.errors import UsageError
from pigeonhole.label_map import LabelMap
from pigeonhole.limits import MOST_TOP


@dataclass(frozen=True)
class RowOptions:
    """What the user asks of rows.

    Args:
        review_below: the confidence, from 0 to 1, under which a row is marked for review; None: as the model decides.
        top: how many of the most probable classes a row carries, at most; None: as many as its job asked for.
        label_map: the texts to show in place of the classes' names; None: the names.
        unknown_label: the label of images that the model marks for review and that have an `unknown` of 0.5 or more;
            None: their most probable class.

    Raises:
        UsageError: a value can't be used.
    """

    review_below: float | None = None
    top: int | None = None
    label_map: LabelMap | None = None
    unknown_label: str | None = None

    def __post_init__(self) -> None:
        if self.review_below is not None and not 0 <= self.review_below <= 1:
            raise UsageError(f"{self.review_below} is no confidence: rows are marked for review under one from 0 to 1")
        if self.top is not None and not 1 <= self.top <= MOST_TOP:
            raise UsageError(f"a row can't carry {self.top} classes: choose a number from 1 to {MOST_TOP:,}")
        if self.unknown_label is not None and not self.unknown_label.strip():
            raise UsageError("the label of unknown images is empty: give a text such as 'unknown'")

    def words(self) -> list[str]:
        """Return the words that say the same on the command line."""
        words = [] if self.review_below is None else ["--review-below", str(self.review_below)]
        words += [] if self.top is None else ["--top", str(self.top)]
        words += [] if self.unknown_label is None else ["--unknown-label", self.unknown_label]
        return words if self.label_map is None else [*words, "--label-map", self.label_map.path]

    def identity(self) -> tuple[str, ...]:
        """Return the options that make a command another one: the same sources, but other rows."""
        words = [] if self.top is None else ["--top", str(self.top)]
        words += [] if self.unknown_label is None else ["--unknown-label", self.unknown_label]
        return (*words, *([] if self.label_map is None else ["--label-map", f"sha256:{self.label_map.digest}"]))


def check_unknown_label(text: str, model: str, knows: bool) -> None:
    """Raise UsageError if a model can't tell unknown images.

    Args:
        text: the label for them.
        model: its name.
        knows: whether it has an output for "unknown".
    """
    if not knows:
        raise UsageError(
            f"{model} has no output for unknown images, so none can be labelled {text!r}: leave out --unknown-label"
        )


#: Rows as the model decides.
DEFAULT = RowOptions()
