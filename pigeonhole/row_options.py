"""The options of a run that decide the content of its rows."""

from dataclasses import dataclass

from pigeonhole.errors import UsageError
from pigeonhole.label_map import LabelMap
from pigeonhole.limits import MOST_TOP


@dataclass(frozen=True)
class RowOptions:
    """The user's options for the rows of a run.

    Args:
        review_below: rows with a confidence below this, from 0 to 1, are marked for review; None: the model decides.
        top: the largest number of most probable classes in a row; None: the number that the job asked for.
        label_map: the texts to show in place of class names; None: class names.
        unknown_label: the label of images that the model marks for review and whose `unknown` is 0.5 or more; None:
            their most probable class.

    Raises:
        UsageError: a value can't be used.
    """

    review_below: float | None = None
    top: int | None = None
    label_map: LabelMap | None = None
    unknown_label: str | None = None

    def __post_init__(self) -> None:
        if self.review_below is not None and not 0 <= self.review_below <= 1:
            raise UsageError(f"{self.review_below} is not a confidence to review below: choose a number from 0 to 1")
        if self.top is not None and not 1 <= self.top <= MOST_TOP:
            raise UsageError(f"a row can't carry {self.top} classes: choose a number from 1 to {MOST_TOP:,}")
        if self.unknown_label is not None and not self.unknown_label.strip():
            raise UsageError("the label of unknown images is empty: choose a text such as 'unknown'")

    def check_unknown(self, model: str, knows: bool) -> None:
        """Raise UsageError if unknown images shall have a label, and a model has no output for them.

        Args:
            model: the model's name.
            knows: whether the model has an output for "unknown".
        """
        if self.unknown_label is not None and not knows:
            raise UsageError(
                f"{model} has no output for unknown images, so none can be labelled {self.unknown_label!r}: leave out "
                "--unknown-label"
            )

    def words(self) -> list[str]:
        """Return these options as arguments of the command line."""
        below = [] if self.review_below is None else ["--review-below", str(self.review_below)]
        return below + self._words(None if self.label_map is None else self.label_map.path)

    def identity(self) -> tuple[str, ...]:
        """Return the options that belong to the identity of a run: with other values, the rows are different."""
        return tuple(self._words(None if self.label_map is None else f"sha256:{self.label_map.digest}"))

    def _words(self, label_map: str | None) -> list[str]:
        values = {"--top": self.top, "--unknown-label": self.unknown_label, "--label-map": label_map}
        return [word for option, value in values.items() if value is not None for word in (option, str(value))]


#: The model and the job decide everything.
DEFAULT = RowOptions()
