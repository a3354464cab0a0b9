"""How much a picture is like a digit, by its nearest neighbour: what keeps digits out of the outliers."""

import numpy as np
from numpy.typing import NDArray

from training.variety.raster import SIDE, Ink, blur

_REFERENCES = 5000  # digits to compare with; more of them find little more
_PROBES = 500  # other digits, which say how near to those a digit is
_SIGMA = 1.0  # pixels: how far strokes may lie apart and still be alike


class Likeness:
    """Compares pictures with digits, by the correlation with the nearest one, both blurred.

    Args:
        images: uint8 [N, 28, 28], digits; a part of them, evenly spread, is compared with.
    """

    def __init__(self, images: NDArray[np.uint8]) -> None:
        spread = np.linspace(0, len(images) - 1, min(len(images), _REFERENCES + _PROBES)).astype(np.int64)
        features = _features(images[spread])
        probes = np.arange(len(features)) % (_REFERENCES // _PROBES + 1) == 0
        self._references = features[~probes] if not probes.all() else features  # [m, 196]
        self._probes = np.sort(self._nearest(features[probes]))

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The share of digits that are less like another digit than each picture is: uint8 [n, 28, 28] → [n] in 0…1."""
        below = np.searchsorted(self._probes, self._nearest(_features(pictures)))
        return below / len(self._probes)

    def _nearest(self, features: Ink) -> NDArray[np.float32]:
        nearest: NDArray[np.float32] = (features @ self._references.T).max(axis=1)
        return nearest


def _features(images: NDArray[np.uint8]) -> Ink:
    """Blurred, reduced to 14 x 14, of mean 0 and length 1: float32 [n, 196]."""
    soft = blur(images.astype(np.float32), _SIGMA)
    small = soft.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4)).reshape(len(images), -1)
    small = small - small.mean(axis=1, keepdims=True)
    length = np.sqrt((small**2).sum(axis=1, keepdims=True))
    features: Ink = small / np.maximum(length, np.float32(1e-6))
    return features
