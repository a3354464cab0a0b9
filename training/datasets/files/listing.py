"""Labelled picture files, none of which has been opened."""

from dataclasses import dataclass

TRAINING, VALIDATION, TEST = "training", "validation", "test"


@dataclass(frozen=True)
class Picture:
    """One file.

    Args:
        path: Path of the file.
        label: Index of its class.
        part: `TRAINING`, `VALIDATION` or `TEST`.
    """

    path: str
    label: int
    part: str


@dataclass(frozen=True)
class Listing:
    """The files of a data set.

    Args:
        classes: Names of the classes, sorted.
        pictures: By part, class and path.
    """

    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]

    def of(self, part: str) -> tuple[Picture, ...]:
        """Return the pictures of a part."""
        return tuple(picture for picture in self.pictures if picture.part == part)
