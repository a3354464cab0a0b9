"""The preprocessing `center-crop`, with which ImageNet models are trained and evaluated."""

from typing import TYPE_CHECKING

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pigeonhole.imaging.decode import Decoded

_CROP_RATIO = 0.875  # the crop's side / the resized shorter side; usual for ImageNet: 224 of 256


class CenterCrop(Preprocessing):
    """Resizes the shorter side, then cuts the network's size out of the center.

    The sizes and offsets are rounded as in torchvision's `Resize` and `CenterCrop`, which timm uses, too.
    """

    summary = "its shorter side resized, and the network's size cut out of the center"
    options = ("resize", "interpolation")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shorter < max(self.height, self.width):
            raise TrainingError(
                f"Preprocessing resize must be at least {max(self.height, self.width)}, the longer side of "
                f"{self.height} x {self.width}, not {self.resize}."
            )

    @property
    def shorter(self) -> int:
        """The shorter side of the resized picture, in pixels."""
        return self.resize or int(max(self.height, self.width) / _CROP_RATIO)

    @property
    def jpeg_min_size(self) -> tuple[int, int]:
        """The smallest width and height, in pixels, to which a JPEG may be shrunk while it is decoded."""
        return 2 * self.shorter, 2 * self.shorter

    def fitted(self, image: "Decoded") -> "NDArray[np.uint8]":
        """Return the center of the resized picture. Only the cropped part is resized, to save time."""
        import numpy as np
        from PIL import Image

        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        width, height = self._resized(*image.size)
        # Python's `round` rounds half to even, as torchvision does.
        left, top = round((width - self.width) / 2), round((height - self.height) / 2)
        if (width, height) == image.size:
            return np.asarray(image.crop((left, top, left + self.width, top + self.height)))
        across, down = image.width / width, image.height / height
        box = (left * across, top * down, (left + self.width) * across, (top + self.height) * down)
        method = Image.Resampling[self.interpolation.upper()]
        return np.asarray(image.resize((self.width, self.height), method, box))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the picture after its shorter side is resized."""
        if width <= height:
            return self.shorter, int(self.shorter * height / width)
        return int(self.shorter * width / height), self.shorter
