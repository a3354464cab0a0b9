"""The preprocessing `crop`: the middle of the image, in the network's aspect ratio."""

from pigeonhole.imaging.preprocessings.stretch import Area, Stretch


class Crop(Stretch):
    """Cuts the largest area with the network's aspect ratio out of the middle, and resizes it."""

    summary = "the middle, scaled to the network's size"

    def area(self, width: int, height: int) -> Area:
        """Return the largest area with the network's aspect ratio in the middle of a picture."""
        scale = min(width / self.width, height / self.height)
        wide, high = scale * self.width, scale * self.height
        left, top = (width - wide) / 2, (height - high) / 2
        return left, top, min(left + wide, width), min(top + high, height)
