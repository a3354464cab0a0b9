"""The record of a preprocessing, as its model holds it: no numpy and no Pillow here; `preprocess` applies it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pigeonhole.errors import TrainingError

KINDS = ("stretch", "digit", "crop")
#: Pixels along a side: of MNIST's images, and of a picture whose finer details the digit normalisation never looks at.
DIGIT_SIDE, FINEST_SIDE = 28, 1024
_MAX_SIDE = 4096  # pixels; no network here takes more, and a damaged checkpoint must not ask for gigabytes


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes what a network sees; part of its checkpoint.

    Args:
        kind: "stretch" resizes to the size, aspect not kept; "crop" scales so that the picture covers the size, and
            cuts out the middle; "digit" is MNIST's normalisation (`pigeonhole.imaging.digits`).
        height: Of the array, in pixels.
        width: Of the array, in pixels.
        channels: 1 for grey, 3 for red, green and blue.

    Raises:
        TrainingError: A value that this version doesn't know.
    """

    kind: str
    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TrainingError(f"Unknown preprocessing {self.kind!r}; this version knows {', '.join(KINDS)}.")
        for name in ("height", "width"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _MAX_SIDE:
                raise TrainingError(
                    f"Preprocessing {name} must be a whole number from 1 to {_MAX_SIDE}, not {value!r}."
                )
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise TrainingError(f"Preprocessing channels must be 1 or 3, not {self.channels!r}.")
        if self.kind == "digit" and (self.height, self.width, self.channels) != (DIGIT_SIDE, DIGIT_SIDE, 1):
            raise TrainingError(
                f"The digit preprocessing makes {DIGIT_SIDE} x {DIGIT_SIDE} x 1, "
                f"not {self.height} x {self.width} x {self.channels}."
            )

    @property
    def mode(self) -> str:
        """Pillow's mode of a decoded image: "L" or "RGB"."""
        return "L" if self.channels == 1 else "RGB"

    @property
    def least(self) -> tuple[int, int]:
        """Width and height in pixels under which a JPEG must not be shrunk while it is decoded."""
        if self.kind == "digit":
            # The digit may be a small part of the picture; only what `normalise` never looks at is left out.
            return FINEST_SIDE, FINEST_SIDE
        # Twice the size leaves the resize something to average: half of a sharp image isn't a smooth one.
        return 2 * self.width, 2 * self.height

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Read what `to_json` wrote.

        Raises:
            TrainingError: A key is missing or unknown, or a value is.
        """
        names = {field.name for field in fields(cls)}
        unknown, missing = sorted(set(values) - names), sorted(names - set(values))
        if unknown:
            raise TrainingError(f"Unknown preprocessing key {unknown[0]!r}; a newer version may know it.")
        if missing:
            raise TrainingError(f"The preprocessing lacks {missing[0]!r}.")
        return cls(**values)
