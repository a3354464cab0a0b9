"""The preprocessing `stretch`: the whole image, resized to the network's size."""

from typing import TYPE_CHECKING

from pigeonhole.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pigeonhole.imaging.decode import Decoded

Area = tuple[float, float, float, float]  # left, top, right, bottom in pixels


class Stretch(Preprocessing):
    """Resizes the whole picture, without keeping its aspect ratio."""

    summary = "stretched to the network's size"

    def area(self, _width: int, _height: int) -> Area | None:
        """Return the part of a picture to resize; None: all of it."""
        return None

    def fitted(self, image: "Decoded") -> "NDArray[np.uint8]":
        """Return the picture in the network's size, resized with a bilinear filter."""
        import numpy as np
        from PIL import Image

        size = self.width, self.height
        if isinstance(image, np.ndarray):
            if image.shape[1::-1] == size:
                return image
            image = Image.fromarray(image)
        if image.size == size:
            return np.asarray(image)
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR, self.area(*image.size)))
