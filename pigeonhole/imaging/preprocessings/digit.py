"""The preprocessing `digit`: any picture of one digit → the form of MNIST's images (`pigeonhole.imaging.digits`)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pigeonhole.errors import ImageError, TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pigeonhole.imaging.decode import Decoded
    from pigeonhole.imaging.digits.normalise import Trace

SIDE = 28  # pixels, of MNIST's images
FINEST_SIDE = 1024  # pixels, of a picture whose finer details the normalisation never looks at
_FLAT = 24  # grey levels; a picture that spans fewer may have its digit in the colours, or white on nothing
_LARGEST_AGAIN = 4_000_000  # pixels of a picture that is decoded again for that


class Digit(Preprocessing):
    """Finds one digit on paper, and brings its ink to MNIST's size and place."""

    summary = "brought into the form of MNIST's images"
    reads_digits = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape != (SIDE, SIDE, 1):
            height, width, channels = self.shape
            raise TrainingError(
                f"The digit preprocessing makes {SIDE} x {SIDE} x 1, not {height} x {width} x {channels}."
            )

    @property
    def least(self) -> tuple[int, int]:
        """Width and height in pixels below which a JPEG must not be shrunk: a digit may be a small part of it."""
        return FINEST_SIDE, FINEST_SIDE

    def clearest(self, image: "Image.Image", decode: "Callable[[str, int], Image.Image]") -> "Image.Image":
        """Return a nearly flat picture in the colour, or on the ground, that shows most contrast."""
        import numpy as np
        from PIL import ImageStat

        if image.width * image.height > _LARGEST_AGAIN or int(np.ptp(np.asarray(image))) >= _FLAT:
            return image
        candidates = (image, *decode("RGB", 255).split(), decode("L", 0))
        return max(candidates, key=lambda one: ImageStat.Stat(one).stddev[0])

    def apply_all(self, images: "Sequence[Decoded]") -> "tuple[NDArray[np.uint8], dict[int, ImageError]]":
        """Apply it to many images; those that have MNIST's form already are recognised all at once."""
        from pigeonhole.imaging.digits import normalise

        pixels, errors = normalise.normalise_all(images)
        return pixels.reshape(-1, *self.shape), errors

    def traced(self, image: "Decoded") -> "tuple[NDArray[np.uint8], Trace | None]":
        """Return one digit in MNIST's form, and what the normalisation found."""
        from pigeonhole.imaging.digits import normalise

        trace = normalise.trace(image)
        return trace.pixels.reshape(self.shape), trace
