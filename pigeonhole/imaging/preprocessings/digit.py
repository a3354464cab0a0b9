"""The preprocessing `digit`: a picture of one digit, normalised as MNIST's images are (`pigeonhole.imaging.digits`)."""

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

SIDE = 28  # pixels, width and height of MNIST's images
FINEST_SIDE = 1024  # pixels; the normalisation reduces larger pictures to this, so finer details don't matter
_FLAT = 24  # grey levels; with a smaller range, the digit may be visible in one colour only, or white on transparent
_LARGEST_AGAIN = 4_000_000  # pixels; a larger picture is not decoded a second time


class Digit(Preprocessing):
    """Finds one digit on paper, and scales and centres its ink as in MNIST."""

    summary = "normalised to the form of MNIST's images"
    reads_digits = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape != (SIDE, SIDE, 1):
            height, width, channels = self.shape
            raise TrainingError(
                f"The preprocessing 'digit' returns {SIDE} x {SIDE} x 1, not {height} x {width} x {channels}."
            )

    @property
    def jpeg_min_size(self) -> tuple[int, int]:
        """The smallest width and height, in pixels, to which a JPEG may be shrunk: a digit may be a small part."""
        return FINEST_SIDE, FINEST_SIDE

    def clearest(self, image: "Image.Image", decode: "Callable[[str, int], Image.Image]") -> "Image.Image":
        """Return the image; if it has almost no contrast, the colour channel or background with the most contrast."""
        import numpy as np
        from PIL import ImageStat

        if image.width * image.height > _LARGEST_AGAIN or int(np.ptp(np.asarray(image))) >= _FLAT:
            return image
        candidates = (image, *decode("RGB", 255).split(), decode("L", 0))
        return max(candidates, key=lambda one: ImageStat.Stat(one).stddev[0])

    def apply_all(self, images: "Sequence[Decoded]") -> "tuple[NDArray[np.uint8], dict[int, ImageError]]":
        """Apply the preprocessing to many images; images in MNIST's form already are recognised in one step."""
        from pigeonhole.imaging.digits import normalise

        pixels, errors = normalise.normalise_all(images)
        return pixels.reshape(-1, *self.shape), errors

    def traced(self, image: "Decoded") -> "tuple[NDArray[np.uint8], Trace | None]":
        """Return one digit in MNIST's form, and a record of the normalisation."""
        from pigeonhole.imaging.digits import normalise

        trace = normalise.trace(image)
        return trace.pixels.reshape(self.shape), trace
