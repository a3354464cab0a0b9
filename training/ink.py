"""A grey picture → how much ink each pixel holds, whatever the paper, the light and the polarity."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

_MIN_CONTRAST = 8  # grey levels of 255 between ink and paper; less is a blank page
_GRID = 12  # cells along the longer side, in which the paper's level is estimated
_COARSE = 96  # pixels along the longer side, from which it is
_WINDOW = 5  # cells; a stroke that is narrower has paper beside it within the window
_GREATEST, _LEAST = ImageFilter.MaxFilter(_WINDOW), ImageFilter.MinFilter(_WINDOW)
_EXPLAINED = 0.12  # of the variance, which a falling light leaves at most
_BRIGHTEST, _DIMMEST = ImageFilter.MaxFilter(9), ImageFilter.MinFilter(9)  # cells: most of the picture
_CORNER = 0.25  # of the side
_CORNERS_COUNT = 3.0  # times as much as all of the picture
_QUANTILE = 0.8  # quantile of a cell that is paper, noise left out
_UNEVEN = 0.25  # of the ink's depth; a paper that varies more is flattened
_SIGMA = 1.4826  # a normal distribution's standard deviation, of its median deviation
_SPLIT = 2.9  # standard deviations of the paper; two halves of one normal distribution lie 2.3 apart, of a flat one 2.7
_COHERENT = 0.5  # what is less is noise; a digit in fog has 0.7 or more
_RARE = 5.0  # standard deviations; what differs more from the paper's level is not its grain
_FEWEST = 8  # pixels of a digit
_SMALLEST_STRIPED, _LARGEST_STRIPED = 20, 64  # pixels
_NARROWEST = 0.15  # of the side; a narrower stripe may be a stroke


@dataclass(frozen=True)
class Ink:
    """The ink of a picture.

    Args:
        amount: float32 [h, w], 0 (paper) … 1 (full ink).
        dark: Whether the ink is darker than the paper.
        flattened: Whether the paper was uneven.
        paper: The paper's grey level, 0 … 255; of the brightest (or darkest, for bright ink) where it is uneven.
    """

    amount: NDArray[np.float32]
    dark: bool
    flattened: bool
    paper: int


def find(grey: NDArray[np.uint8]) -> Ink | None:
    """Tell ink from paper: `grey` uint8 [h, w]; None for a page that holds nothing, or nothing but noise."""
    if min(grey.shape) >= _SMALLEST_STRIPED and max(grey.shape) <= _LARGEST_STRIPED:
        grey = _unstripe(grey)
    coarse = _coarse(grey)
    cells = _cells(coarse)  # float32 [rows, columns, pixels of a cell], in order
    light = _falling_light(cells)  # float32 [rows, columns]
    cells -= light[:, :, None]
    even = coarse - _resized(light, coarse.shape)  # float32 [h, w]
    dark = _is_dark(even, cells)
    level = _paper(cells, dark)  # float32 [rows, columns]
    depth = float(np.abs(even - _resized(level, coarse.shape)).max())
    level = level + light
    flattened = float(level.max() - level.min()) > _UNEVEN * depth
    if flattened:
        grey = _flat(grey, _resized(level, grey.shape), dark)
    measured = _levels(grey, dark)
    if measured is None:
        return None
    paper, ink, grain = measured
    amounts = (np.arange(256, dtype=np.float32) - paper) / (ink - paper)
    amounts = np.clip((amounts - grain) / (1.0 - grain), 0.0, 1.0).astype(np.float32)
    return Ink(amounts[grey], dark, flattened, round(paper))


def _coarse(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = -(-max(grey.shape) // _COARSE)  # rounded up
    return np.asarray(Image.fromarray(grey).reduce(factor)) if factor > 1 else grey


def _resized(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(values).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _cells(coarse: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The picture in cells of a coarse grid, the pixels of each in order: float32 [rows, columns, pixels]."""
    side = -(-max(coarse.shape) // _GRID)
    height, width = (-(-length // side) for length in coarse.shape)
    missing = (height * side - coarse.shape[0], width * side - coarse.shape[1])
    padded = np.pad(coarse, ((0, missing[0]), (0, missing[1])), "edge") if any(missing) else coarse
    cells = padded.reshape(height, side, width, side).swapaxes(1, 2).reshape(height, width, side * side)
    return np.sort(cells, axis=2).astype(np.float32)


def _falling_light(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """A light that falls off to a side or to all: float32 [rows, columns], 0 where there is none.

    It is a surface of second order through the cells' medians, taken if it explains most of their variance.
    """
    values = cells[:, :, cells.shape[2] // 2]
    spread = values - values.mean()
    total = float((spread * spread).sum())
    surface, inverse = _surface(*values.shape)
    if min(values.shape) < _WINDOW or total == 0.0:
        return np.zeros_like(values)
    fitted: NDArray[np.float32] = (surface @ (inverse @ spread.ravel())).reshape(values.shape)
    left = spread - fitted
    if float((left * left).sum()) > _EXPLAINED * total:
        return np.zeros_like(values)
    return fitted


@lru_cache(64)
def _surface(rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The terms of a surface of second order on a grid, and what fits them: float32 [cells, 5] and [5, cells]."""
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j])
    terms = np.stack([y, x, y * y, x * x, x * y], axis=1)
    terms -= terms.mean(axis=0)
    return terms.astype(np.float32), np.linalg.pinv(terms).astype(np.float32)


def _is_dark(even: NDArray[np.float32], cells: NDArray[np.float32]) -> bool:
    """Decide the polarity: whether the ink is darker than the paper.

    Each pixel votes for the brightest or for the darkest level around it, whichever it is nearer to. Paper covers
    more than ink does, and in the corners there is mostly paper, also of a picture that a thick digit fills.
    """
    around = Image.fromarray(cells[:, :, -1]).filter(_BRIGHTEST), Image.fromarray(cells[:, :, 0]).filter(_DIMMEST)
    size = even.shape[::-1]
    bright, dim = (np.asarray(one.resize(size, Image.Resampling.NEAREST)) for one in around)
    votes = 2 * even - bright - dim  # [h, w]
    return float(np.vdot(votes, _weights(*size))) > 0.0


@lru_cache(64)
def _weights(width: int, height: int) -> NDArray[np.float32]:
    """How much each pixel's vote on the polarity counts: float32 [h, w]."""
    y, x = max(1, round(_CORNER * height)), max(1, round(_CORNER * width))
    corners = np.zeros((height, width), np.bool_)
    for rows in (slice(y), slice(-y, None)):
        for columns in (slice(x), slice(-x, None)):
            corners[rows, columns] = True
    weights: NDArray[np.float32] = (1.0 / (height * width) + _CORNERS_COUNT * corners / corners.sum()).astype(
        np.float32
    )
    return weights


def _paper(cells: NDArray[np.float32], dark: bool) -> NDArray[np.float32]:
    """The paper's level in each cell: float32 [rows, columns].

    A high quantile of its pixels (a low one for bright ink), closed (opened) over the cells around, as grey-scale
    morphology calls it: strokes vanish in it, shadows stay.
    """
    at = round(_QUANTILE * (cells.shape[2] - 1))
    first, second = (_GREATEST, _LEAST) if dark else (_LEAST, _GREATEST)
    level = Image.fromarray(cells[:, :, at if dark else -1 - at]).filter(first).filter(second)
    return np.asarray(level)


def _flat(grey: NDArray[np.uint8], paper: NDArray[np.float32], dark: bool) -> NDArray[np.uint8]:
    """The picture as on even paper: `paper` float32 [h, w] is its level at each pixel of `grey`."""
    # Light falls on ink as it does on paper; fog, or a bright ground, adds to both.
    flat = grey * (paper.max() / np.maximum(paper, 1.0)) if dark else grey - paper + paper.min()
    flattened: NDArray[np.uint8] = np.clip(np.rint(flat), 0, 255).astype(np.uint8)
    return flattened


def _levels(grey: NDArray[np.uint8], dark: bool) -> tuple[float, float, float] | None:
    """Levels of paper and ink, and the share of full ink that is the paper's grain; None: there is no ink."""
    counts = np.array(Image.fromarray(grey).histogram())  # int64 [256]
    threshold = _otsu(counts)
    low, high = counts.copy(), counts.copy()
    low[threshold + 1 :], high[: threshold + 1] = 0, 0
    if not low.any() or not high.any():
        return None
    papers, strokes = (high, low) if dark else (low, high)
    paper, ink = _median(papers), _median(strokes)
    grain = _SIGMA * _median_deviation(papers, paper)
    if abs(ink - paper) < _SPLIT * grain and _coherence(grey > threshold) < _COHERENT:
        # Otsu's threshold has split the paper's noise: the ink is what is rare in it, if there is any.
        paper = _median(counts)
        grain = _SIGMA * _median_deviation(counts, paper)
        beyond = (paper - np.arange(256)) * (1 if dark else -1) > _RARE * grain
        strokes = np.where(beyond, counts, 0)
        if strokes.sum() < _FEWEST:
            return None
        ink = _median(strokes)
    depth = abs(ink - paper)
    if depth < _MIN_CONTRAST:
        return None
    return paper, ink, min(3.0 * grain / depth, 0.5)


def _coherence(mask: NDArray[np.bool_]) -> float:
    """How far neighbours are alike, beyond chance: 0 for white noise, 1 for a picture without edges."""
    share = float(mask.mean())
    chance = share**2 + (1.0 - share) ** 2
    pairs = [mask[1:] == mask[:-1], mask[:, 1:] == mask[:, :-1]]
    alike = [float(pair.mean()) for pair in pairs if pair.size]
    return (min(alike) - chance) / (1.0 - chance) if alike else 0.0


def _median(counts: NDArray[np.int64]) -> float:
    below = counts.cumsum()
    return float(np.searchsorted(below, (below[-1] + 1) // 2))


def _median_deviation(counts: NDArray[np.int64], centre: float) -> float:
    deviations = np.abs(np.arange(256) - centre).astype(np.int64)
    return _median(np.bincount(deviations, counts, minlength=256).astype(np.int64))


def _otsu(counts: NDArray[np.int64]) -> int:
    """The grey level that separates two classes best (N. Otsu, 1979); `counts` int64 [256]."""
    below = counts.cumsum().astype(np.float64)
    above = below[-1] - below
    mass = (counts * np.arange(256)).cumsum().astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below / below[-1] - mass) ** 2 / (below * above)
    return int(np.nan_to_num(between, posinf=0.0).argmax())


def _unstripe(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn back a part that is inverted from one side of the picture to the other."""
    levels = grey.astype(np.int16)
    low, high = int(grey.min()), int(grey.max())
    for axis in (0, 1):
        ahead, behind = np.split(levels, [1], axis)[1], np.split(levels, [grey.shape[axis] - 1], axis)[0]
        turned = np.abs(ahead + behind - low - high).mean(axis=1 - axis)  # [length - 1]; small where it is inverted
        flips = (turned < 0.2 * (high - low)) & (turned < 0.3 * np.abs(ahead - behind).mean(axis=1 - axis))
        where = np.flatnonzero(flips)
        least = max(3, round(_NARROWEST * grey.shape[axis]))
        if len(where) == 0 or np.diff(where, prepend=-1, append=grey.shape[axis] - 1).min() < least:
            continue
        inverted = np.concatenate([[False], np.cumsum(flips) % 2 == 1])
        mirrored = np.where(np.expand_dims(inverted, 1 - axis), low + high - levels, levels).astype(np.uint8)
        bright = mirrored > (low + high) // 2
        part = np.compress(inverted, bright, axis)
        if 0.02 < bright.mean() < 0.98 and (inverted[-1] or 0.05 < part.mean() < 0.95):  # else it was a straight stroke
            return mirrored
    return grey
