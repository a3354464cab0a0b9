"""A grey picture → the amount of ink in each pixel, for any paper, light and polarity."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pigeonhole.imaging.digits.components import label

_MIN_CONTRAST = 8  # grey levels of 255 between ink and paper; a page with less is blank
_COARSE = 96  # pixels along the longer side of the reduced picture in which paper and polarity are found
_GRID, _LEAST_GRID = 12, 5  # cells along the longer and the shorter side, to which an uneven light is fitted
_LEAST_LIT = 40  # pixels; in a smaller picture the digit may cover nearly everything
_UNEXPLAINED = 0.06  # largest share of the variance that the fit of an uneven light may leave
_AROUND = 0.4  # share of the side; within this distance of each pixel there are both paper and ink
_STROKE, _LEAST_STROKE = 0.22, 5  # half the width of the widest stroke: share of the side, and pixels
_CORNER = 0.25  # side of a corner, as a share of the picture's side
_CORNERS_COUNT = 3.0  # weight of the corners' votes; the whole picture has 1
_DOUBT = 0.5  # share of the largest vote, below which the sum of the votes is not clear
_UNEVEN = 0.25  # share of the ink's depth; paper that varies more is flattened
_SIGMA = 1.4826  # standard deviation / median deviation, of a normal distribution
_SPLIT = 2.9  # standard deviations of the paper; the halves of a normal distribution are 2.3 apart, of a flat one 2.7
_COHERENT = 0.5  # a mask with less coherence is noise; a digit in fog has 0.7 or more
_RARE = 5.0  # standard deviations; a larger difference from the paper's level is not grain
_FEWEST = 8  # pixels; a digit has at least as many
_SMALLEST_STRIPED, _LARGEST_STRIPED = 20, 64  # pixels; sizes of pictures in which inverted stripes are looked for
_NARROWEST = 0.15  # share of the side; a narrower stripe may be a stroke


@dataclass(frozen=True)
class Ink:
    """The ink of a picture.

    Args:
        amount: float32 [h, w], 0 (paper) … 1 (full ink).
        dark: Whether the ink is darker than the paper.
        flattened: Whether the paper was uneven, and was flattened.
        paper: The paper's grey level, 0…255. If it was uneven: of its brightest part, or darkest for bright ink.
    """

    amount: NDArray[np.float32]
    dark: bool
    flattened: bool
    paper: int


def find(grey: NDArray[np.uint8]) -> Ink | None:
    """Separate ink from paper: `grey` uint8 [h, w]; None: the page is blank, or has only noise."""
    if min(grey.shape) >= _SMALLEST_STRIPED and max(grey.shape) <= _LARGEST_STRIPED:
        grey = _unstripe(grey)
    coarse = _coarse(grey)
    even = coarse - _uneven_light(coarse)  # float32 [h, w]
    dark = _is_dark(even)
    level = coarse - even + _paper(even, dark)  # the paper's level at each pixel: float32 [h, w]
    flattened = float(np.ptp(level)) > _UNEVEN * float(np.abs(coarse - level).max())
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


# OpenBLAS 0.3.31 also multiplies the unused lanes of a register, which may set the "invalid" flag. Results are right.
@np.errstate(invalid="ignore")
def _uneven_light(coarse: NDArray[np.uint8]) -> NDArray[np.float32] | float:
    """Return the uneven part of the light, such as a fall-off to one side: float32 [h, w]; 0 if the light is even.

    It is a surface of second order, fitted to a coarse grid. It counts only if it explains most of the variance.
    """
    side = -(-max(coarse.shape) // _GRID)
    values = np.asarray(Image.fromarray(coarse).reduce(side), np.float32)  # [rows, columns]
    if min(values.shape) < _LEAST_GRID:
        return 0.0
    spread = (values - values.mean()).ravel()
    cells, pixels, inverse = _surface(*coarse.shape, side)
    found = inverse @ spread  # float32 [5]
    left = spread - cells @ found
    if min(coarse.shape) >= _LEAST_LIT:
        # Fitted again without the worst quarter of the cells, which may contain the digit.
        kept = np.abs(left) <= np.quantile(np.abs(left), 0.75)
        found = np.linalg.lstsq(cells[kept], spread[kept])[0]
        spread = spread[kept]
        left = spread - cells[kept] @ found
    if float(left @ left) >= _UNEXPLAINED * float(spread @ spread):
        return 0.0
    light: NDArray[np.float32] = (pixels @ found).reshape(coarse.shape)
    return light


@lru_cache(16)
def _surface(
    height: int, width: int, side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the terms of a surface of second order.

    Returns:
        The terms in the middle of each cell of `side` pixels, float32 [cells, 5]; the terms at each pixel, float32
        [pixels, 5]; and the pseudo-inverse of the first, which fits a surface to the cells, float32 [5, cells].
    """
    scale = 2.0 / max(height, width)

    def terms(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        y, x = (axis.ravel() for axis in np.meshgrid(rows * scale - 1.0, columns * scale - 1.0, indexing="ij"))
        return np.stack([y, x, y * y, x * x, x * y], axis=1)

    middles = [
        np.arange(0, length, side) + np.minimum(side, length - np.arange(0, length, side)) / 2 - 0.5
        for length in (height, width)
    ]
    cells = terms(*middles)
    mean = cells.mean(axis=0)
    pixels = terms(np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)) - mean
    cells -= mean
    return cells.astype(np.float32), pixels.astype(np.float32), np.linalg.pinv(cells).astype(np.float32)


def _is_dark(even: NDArray[np.float32]) -> bool:
    """Return whether the ink is darker than the paper; `even` float32 [h, w], the picture in even light.

    Each pixel votes for the brightest or the darkest level around it, depending on which is nearer. Paper usually
    covers more pixels than ink, and the corners are mostly paper, even if a thick digit fills the picture.
    """
    around = round(_AROUND * max(even.shape))
    votes = 2 * even - _max_filtered(even, around) + _max_filtered(-even, around)
    score = float(np.vdot(votes, _weights(*even.shape)))
    if abs(score) < _DOUBT * float(np.abs(votes).max()):
        # A digit is one component. If it fills the picture, it cuts the paper into several.
        bright, dim = len(label(votes > 0)), len(label(votes < 0))
        if min(bright, dim) == 1 and max(bright, dim) > 1:
            return dim == 1
    return score > 0.0


@lru_cache(64)
def _weights(height: int, width: int) -> NDArray[np.float32]:
    """Return the weight of each pixel's vote on the polarity: float32 [h, w]."""
    y, x = max(1, round(_CORNER * height)), max(1, round(_CORNER * width))
    corners = np.zeros((height, width), np.bool_)
    for rows in (slice(y), slice(-y, None)):
        for columns in (slice(x), slice(-x, None)):
            corners[rows, columns] = True
    weights: NDArray[np.float32] = (1.0 / (height * width) + _CORNERS_COUNT * corners / corners.sum()).astype(
        np.float32
    )
    return weights


def _paper(even: NDArray[np.float32], dark: bool) -> NDArray[np.float32]:
    """Return the paper's level at each pixel: float32 [h, w] → the same.

    It is a closing in grey-scale morphology (an opening, for bright ink): strokes vanish, but shadows and their edges
    stay. A median filter comes first, so that single pixels do not count.
    """
    around = max(round(_STROKE * max(even.shape)), _LEAST_STROKE)
    smooth = _median_filtered(even)
    sign = np.float32(1.0 if dark else -1.0)
    return -sign * _max_filtered(-_max_filtered(sign * smooth, around), around)


def _median_filtered(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each pixel and its eight neighbours, with a repeated edge: float32 [h, w] → the same.

    It takes a fraction of the time of Pillow's filter. In three sorted columns, the median of nine is the median of
    three values: the largest minimum, the median of the medians, and the smallest maximum.
    """
    height, width = values.shape
    wide = np.empty((height + 2, width + 2), np.float32)
    wide[1:-1, 1:-1] = values
    wide[0, 1:-1], wide[-1, 1:-1] = values[0], values[-1]
    wide[:, 0], wide[:, -1] = wide[:, 1], wide[:, -2]
    above, here, below = wide[:-2], wide[1:-1], wide[2:]
    low, high = np.minimum(above, below), np.maximum(above, below)
    least, middle, greatest = np.minimum(low, here), _middle(low, here, high), np.maximum(high, here)
    return _middle_of(
        np.maximum(np.maximum(least[:, :-2], least[:, 1:-1]), least[:, 2:]),
        _middle_of(middle[:, :-2], middle[:, 1:-1], middle[:, 2:]),
        np.minimum(np.minimum(greatest[:, :-2], greatest[:, 1:-1]), greatest[:, 2:]),
    )


def _middle_of(one: NDArray[np.float32], other: NDArray[np.float32], third: NDArray[np.float32]) -> NDArray[np.float32]:
    return _middle(np.minimum(one, other), third, np.maximum(one, other))


def _middle(low: NDArray[np.float32], other: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of three values, where `low` is at most `high`."""
    middle: NDArray[np.float32] = np.maximum(low, np.minimum(other, high))
    return middle


def _max_filtered(values: NDArray[np.float32], around: int) -> NDArray[np.float32]:
    """Return the maximum within `around` pixels in both directions: float32 [h, w] → the same."""
    height, width = values.shape
    length = 2 * around + 1
    wide = np.full((height + 2 * around, width + 2 * around), -np.inf, np.float32)
    wide[around : around + height, around : around + width] = values
    for axis in (0, 1):
        found = wide.swapaxes(0, axis)
        done = 1  # the number of pixels that each maximum covers
        while done < length:
            step = min(done, length - done)
            found = np.maximum(found[:-step], found[step:])
            done += step
        wide = found.swapaxes(0, axis)
    return wide


def _flat(grey: NDArray[np.uint8], paper: NDArray[np.float32], dark: bool) -> NDArray[np.uint8]:
    """Return the picture on even paper; `paper` float32 [h, w] is the paper's level at each pixel of `grey`."""
    # Light multiplies the level of ink and of paper; fog, or a bright background, is added to both.
    flat = grey * (paper.max() / np.maximum(paper, 1.0)) if dark else grey - paper + paper.min()
    flattened: NDArray[np.uint8] = np.clip(np.rint(flat), 0, 255).astype(np.uint8)
    return flattened


def _levels(grey: NDArray[np.uint8], dark: bool) -> tuple[float, float, float] | None:
    """Return the levels of paper and ink, and the paper's grain as a share of full ink; None: there is no ink."""
    counts = np.bincount(grey.ravel(), minlength=256)  # int64 [256]
    threshold = _otsu(counts)
    low, high = counts.copy(), counts.copy()
    low[threshold + 1 :], high[: threshold + 1] = 0, 0
    if not low.any() or not high.any():
        return None
    papers, strokes = (high, low) if dark else (low, high)
    paper, ink = _median(papers), _median(strokes)
    grain = _SIGMA * _median_deviation(papers, paper)
    if abs(ink - paper) < _SPLIT * grain and _coherence(grey > threshold) < _COHERENT:
        # Otsu's threshold has split the paper's noise, so only levels far outside the noise can be ink.
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
    """Return how often neighbours are equal, beyond chance: 0 for white noise, 1 for a picture without edges."""
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
    """Return the grey level that separates two classes best (N. Otsu, 1979); `counts` int64 [256]."""
    below = counts.cumsum().astype(np.float64)
    above = below[-1] - below
    mass = (counts * np.arange(256)).cumsum().astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below / below[-1] - mass) ** 2 / (below * above)
    return int(np.nan_to_num(between, posinf=0.0).argmax())


def _unstripe(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Invert a stripe again that is inverted, and reaches from one side of the picture to the other."""
    levels = grey.astype(np.int16)
    low, high = int(grey.min()), int(grey.max())
    for axis in (0, 1):
        lines = levels.swapaxes(0, axis)
        ahead, behind = lines[1:], lines[:-1]
        turned = np.abs(ahead + behind - low - high).mean(axis=1)  # [length - 1]; small where it is inverted
        flips = turned < 0.2 * (high - low)
        if not flips.any():
            continue
        flips &= turned < 0.3 * np.abs(ahead - behind).mean(axis=1)
        where = np.flatnonzero(flips)
        least = max(3, round(_NARROWEST * grey.shape[axis]))
        if len(where) == 0 or np.diff(where, prepend=-1, append=grey.shape[axis] - 1).min() < least:
            continue
        inverted = np.concatenate([[False], np.cumsum(flips) % 2 == 1])
        mirrored = np.where(np.expand_dims(inverted, 1 - axis), low + high - levels, levels).astype(np.uint8)
        bright = mirrored > (low + high) // 2
        edge = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]]).mean()
        part = np.compress(inverted, bright, axis).mean()
        # After a stripe is inverted, the paper is even. After a straight stroke is inverted, no digit is left.
        if not 0.15 < edge < 0.85 and 0.02 < bright.mean() < 0.98 and (inverted[-1] or 0.05 < part < 0.95):
            return mirrored
    return grey
