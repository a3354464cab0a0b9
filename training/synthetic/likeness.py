"""The likeness of a picture to digits, by its nearest neighbour: it keeps digits out of the outliers."""

import numpy as np
from numpy.typing import NDArray

from training.synthetic.raster import SIDE, Ink, blur

_REFERENCES = 5000  # digits to compare with; more of them change little
_PROBES = 500  # digits whose own likeness to other digits is the scale
_SIGMA = 1.0  # pixels: strokes at about this distance still count as alike


class Likeness:
    """Compares pictures with digits, by the correlation with the nearest digit, both blurred.

    Args:
        images: uint8 [N, 28, 28], digits; a part of them, evenly spread, is used.
    """

    def __init__(self, images: NDArray[np.uint8]) -> None:
        spread = np.linspace(0, len(images) - 1, min(len(images), _REFERENCES)).astype(np.int64)
        self._references = _features(images[spread])  # [m, 196]
        probes = np.arange(0, len(spread), -(-len(spread) // _PROBES))
        near = self._references[probes] @ self._references.T
        near[np.arange(len(probes)), probes] = -1.0  # a digit is not its own neighbour
        self._probes = np.sort(near.max(axis=1))

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the likeness of each picture: uint8 [n, 28, 28] → float64 [n] in 0…1.

        It is the share of digits whose nearest digit is further away than the picture's.
        """
        nearest = (_features(pictures) @ self._references.T).max(axis=1)
        shares: NDArray[np.float64] = np.searchsorted(self._probes, nearest) / len(self._probes)
        return shares


def _features(images: NDArray[np.uint8]) -> Ink:
    """Blur images, reduce them to 14 x 14, and normalise them to mean 0 and length 1: float32 [n, 196]."""
    soft = blur(images.astype(np.float32), _SIGMA)
    small = soft.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4)).reshape(-1, (SIDE // 2) ** 2)
    small = small - small.mean(axis=1, keepdims=True)
    length = np.sqrt((small**2).sum(axis=1, keepdims=True))
    features: Ink = small / np.maximum(length, np.float32(1e-6))
    return features
