"""Preprocessings: an image → the array that a network takes. A model file records its preprocessing.

To add a kind, write one class (`pigeonhole.imaging.preprocessings` has examples) and register it here. The classes
import numpy and Pillow where they use them, because reading a model file's record must need neither.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from pigeonhole.errors import ImageError, TrainingError
from pigeonhole.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pigeonhole.imaging.decode import Decoded
    from pigeonhole.imaging.digits.normalise import Trace

_HERE = "pigeonhole.imaging.preprocessings"
KINDS: Registry["Preprocessing"] = Registry(
    {
        "stretch": f"{_HERE}.stretch:Stretch",
        "digit": f"{_HERE}.digit:Digit",
        "crop": f"{_HERE}.crop:Crop",
        "center-crop": f"{_HERE}.center_crop:CenterCrop",
    }
)
#: The filters for resizing. Both are anti-aliased: they average over the area that a pixel of the result covers.
INTERPOLATIONS = ("bilinear", "bicubic")
_MAX_SIDE = 4096  # pixels; without a limit, a damaged model file could ask for gigabytes


@dataclass(frozen=True)
class Preprocessing:
    """A preprocessing; creating one returns an instance of the class that is registered for its kind.

    Args:
        kind: A name in `KINDS`.
        height: Height of the array, in pixels.
        width: Width of the array, in pixels.
        channels: 1 for grey, 3 for red, green and blue.
        resize: For `center-crop`: the shorter side of the resized image, in pixels, before the crop. 0: the kind's
            default.
        interpolation: For `center-crop`: the filter for resizing, "bilinear" or "bicubic".

    Raises:
        TrainingError: This version doesn't know the kind, or a value is not allowed.
    """

    kind: str
    height: int
    width: int
    channels: int
    resize: int = 0
    interpolation: str = "bilinear"

    #: What it does with a picture, in words, for the output of `pigeonhole inspect`.
    summary: ClassVar[str] = ""
    #: Whether it finds one digit on plain paper and normalises it as MNIST's images are; a blank picture is an error.
    reads_digits: ClassVar[bool] = False
    #: The optional fields that the kind uses; the others must have their defaults.
    options: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, kind: str = "", *_values: object, **_named: object) -> "Preprocessing":
        """Create an instance of the kind's class. Unpickling calls this on that class, without arguments."""
        if cls is not Preprocessing:
            return object.__new__(cls)
        if kind not in KINDS:
            raise TrainingError(f"Unknown preprocessing {kind!r}; this version knows {', '.join(KINDS)}.")
        return object.__new__(KINDS.load(kind))

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _MAX_SIDE:
                raise TrainingError(
                    f"Preprocessing {name} must be a whole number from 1 to {_MAX_SIDE}, not {value!r}."
                )
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise TrainingError(f"Preprocessing channels must be 1 or 3, not {self.channels!r}.")
        for name in _DEFAULTS.keys() - set(self.options):
            if getattr(self, name) != _DEFAULTS[name]:
                raise TrainingError(f"The preprocessing {self.kind!r} takes no {name}; remove {getattr(self, name)!r}.")
        if type(self.resize) is not int or not 0 <= self.resize <= _MAX_SIDE:
            raise TrainingError(
                f"Preprocessing resize must be a whole number from 0 to {_MAX_SIDE}, not {self.resize!r}."
            )
        if self.interpolation not in INTERPOLATIONS:
            raise TrainingError(
                f"Preprocessing interpolation must be {' or '.join(INTERPOLATIONS)}, not {self.interpolation!r}."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the array."""
        return self.height, self.width, self.channels

    @property
    def mode(self) -> str:
        """Pillow's mode of a decoded image: "L" or "RGB"."""
        return "L" if self.channels == 1 else "RGB"

    @property
    def jpeg_min_size(self) -> tuple[int, int]:
        """The smallest width and height, in pixels, to which a JPEG may be shrunk while it is decoded."""
        # Twice the network's size, so that the resize still averages over several pixels.
        return 2 * self.width, 2 * self.height

    def clearest(self, image: "Image.Image", decode: "Callable[[str, int], Image.Image]") -> "Image.Image":
        """Return the decoded image, or another decoding of the same file that has more contrast.

        Args:
            image: The image, decoded in `mode` on white.
            decode: Decodes the file again, in a mode of Pillow and on a background of a grey level, 0…255.
        """
        return image

    def fitted(self, image: "Decoded") -> "NDArray[np.uint8]":
        """Return a decoded image in the network's size: uint8 [height, width] or [height, width, channels]."""
        raise NotImplementedError  # each kind has its own

    def apply(self, image: "Decoded") -> "NDArray[np.uint8]":
        """Return the network's input for a decoded image: uint8 [height, width, channels], in memory of its own.

        Raises:
            ImageError: The image is blank, and this kind needs a digit.
        """
        return self.traced(image)[0]

    def traced(self, image: "Decoded") -> "tuple[NDArray[np.uint8], Trace | None]":
        """Return the result of `apply`, and a record of its steps; None for a kind that keeps no record."""
        import numpy as np

        # This copies an array that is Pillow's own memory, because that is read-only.
        return np.require(self.fitted(image), np.uint8, ["C", "W"]).reshape(self.shape), None

    def apply_all(self, images: "Sequence[Decoded]") -> "tuple[NDArray[np.uint8], dict[int, ImageError]]":
        """Apply the preprocessing to many images.

        Returns:
            uint8 [n, height, width, channels], the images without an error, in order; and the position of each other
            image → its error.
        """
        import numpy as np

        return np.array([self.apply(image) for image in images], np.uint8).reshape(-1, *self.shape), {}

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        # A field with its default is left out, so that model files from before it was added keep their digests.
        return {name: value for name, value in asdict(self).items() if _DEFAULTS.get(name) != value}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Preprocessing":
        """Parse the result of `to_json`.

        Raises:
            TrainingError: A key is missing or unknown, or a value is not allowed.
        """
        names = {field.name for field in fields(Preprocessing)}
        unknown, missing = sorted(set(values) - names), sorted(names - set(values) - set(_DEFAULTS))
        if unknown:
            raise TrainingError(f"Unknown preprocessing key {unknown[0]!r}; a newer version may know it.")
        if missing:
            raise TrainingError(f"The preprocessing lacks {missing[0]!r}.")
        return Preprocessing(**values)


_DEFAULTS = {field.name: field.default for field in fields(Preprocessing) if field.default is not MISSING}
