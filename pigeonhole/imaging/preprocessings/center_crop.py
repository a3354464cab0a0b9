"""The preprocessing `center-crop`, with which ImageNet models are trained and measured."""

from typing import TYPE_CHECKING

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pigeonhole.imaging.decode import Decoded

_CROP_RATIO = 0.875  # of the crop's side to the resized shorter side, ImageNet's customary 224 of 256


class CenterCrop(Preprocessing):
    """Resizes the shorter side, then cuts the network's size out of the center.

    The sizes and offsets are rounded as by torchvision's `Resize` and `CenterCrop`, which timm uses as well.
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
    def least(self) -> tuple[int, int]:
        """Width and height in pixels below which a JPEG must not be shrunk while it is decoded."""
        return 2 * self.shorter, 2 * self.shorter

    def fitted(self, image: "Decoded") -> "NDArray[np.uint8]":
        """Return the center of the resized picture; the rest is not resized."""
        import numpy as np
        from PIL import Image

        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        width, height = self._resized(*image.size)
        # Both offsets are rounded half to even, as torchvision's.
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
