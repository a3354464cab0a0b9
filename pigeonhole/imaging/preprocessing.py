"""How an image becomes what a network sees: the record in a model file, and the class that applies it.

To add a kind, write one class (`pigeonhole.imaging.preprocessings` has examples) and register it here. The classes
import numpy and Pillow where they use them: model files are described without either.
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
#: How `resize` resamples; each averages over what a pixel of the result covers.
INTERPOLATIONS = ("bilinear", "bicubic")
_MAX_SIDE = 4096  # pixels; no network here takes more, and a damaged model file must not ask for gigabytes


@dataclass(frozen=True)
class Preprocessing:
    """A preprocessing; creating one returns an instance of the class that is registered for its kind.

    Args:
        kind: A name in `KINDS`.
        height: Of the array, in pixels.
        width: Of the array, in pixels.
        channels: 1 for grey, 3 for red, green and blue.
        resize: Of a kind that cuts a part out of the resized image: its shorter side, in pixels. 0 is the kind's own.
        interpolation: Of the same kinds: "bilinear" or "bicubic".

    Raises:
        TrainingError: A value that this version doesn't know.
    """

    kind: str
    height: int
    width: int
    channels: int
    resize: int = 0
    interpolation: str = "bilinear"

    #: What it does with a picture, for `inspect`.
    summary: ClassVar[str] = ""
    #: Whether it reads one digit on plain paper: the network sees MNIST's form, and a blank picture is an error.
    reads_digits: ClassVar[bool] = False
    #: The optional fields that the kind uses; the others must have their defaults.
    options: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, kind: str = "", *_values: object, **_named: object) -> "Preprocessing":
        """Create an instance of the kind's class; unpickling calls this on that class, without arguments."""
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
    def least(self) -> tuple[int, int]:
        """Width and height in pixels below which a JPEG must not be shrunk while it is decoded."""
        # Twice the size leaves the resize something to average: half of a sharp image isn't a smooth one.
        return 2 * self.width, 2 * self.height

    def clearest(self, image: "Image.Image", decode: "Callable[[str, int], Image.Image]") -> "Image.Image":
        """Return the decoded image, or one that shows more; `decode` takes a mode and the grey level of the ground."""
        return image

    def fitted(self, image: "Decoded") -> "NDArray[np.uint8]":
        """Return a decoded image in the network's size: uint8 [height, width] or [height, width, channels]."""
        raise NotImplementedError  # by every kind

    def apply(self, image: "Decoded") -> "NDArray[np.uint8]":
        """Return what the network sees of a decoded image: uint8 [height, width, channels], in memory of its own.

        Raises:
            ImageError: It shows nothing to read.
        """
        return self.traced(image)[0]

    def traced(self, image: "Decoded") -> "tuple[NDArray[np.uint8], Trace | None]":
        """Return what `apply` returns, and the steps that led to it; None for a kind that records none."""
        import numpy as np

        # A copy where it still is Pillow's own memory, which is read-only.
        return np.require(self.fitted(image), np.uint8, ["C", "W"]).reshape(self.shape), None

    def apply_all(self, images: "Sequence[Decoded]") -> "tuple[NDArray[np.uint8], dict[int, ImageError]]":
        """Apply it to many images.

        Returns:
            uint8 [n, height, width, channels], the images without an error, in order; and position → error of the rest.
        """
        import numpy as np

        return np.array([self.apply(image) for image in images], np.uint8).reshape(-1, *self.shape), {}

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        # What came later is left out where it changes nothing, so that an older model file keeps its digest.
        return {name: value for name, value in asdict(self).items() if _DEFAULTS.get(name) != value}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Preprocessing":
        """Parse what `to_json` returned.

        Raises:
            TrainingError: A key is missing or unknown, or a value is.
        """
        names = {field.name for field in fields(Preprocessing)}
        unknown, missing = sorted(set(values) - names), sorted(names - set(values) - set(_DEFAULTS))
        if unknown:
            raise TrainingError(f"Unknown preprocessing key {unknown[0]!r}; a newer version may know it.")
        if missing:
            raise TrainingError(f"The preprocessing lacks {missing[0]!r}.")
        return Preprocessing(**values)


_DEFAULTS = {field.name: field.default for field in fields(Preprocessing) if field.default is not MISSING}
