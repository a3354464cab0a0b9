"""Removes clutter around a digit: frame and grid lines, specks, noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pigeonhole.imaging.digits.components import Components, label

INKED = 0.25  # smallest share of full ink that counts as ink: the soft edge of a stroke, not the paper's grain
_SIDE = 128  # pixels along the longer side of the reduced picture in which components are found
_RIM = 0.2  # width of the zone along the edge that contains frames, as a share of the picture's side
_LINE = 0.95  # smallest share of the side that a straight line along it covers
_AWAY = 0.06  # distance from the edge, as a share of the picture's side; lines at the edge of such a digit are clutter
_LEAST = 0.25  # smallest length of such a digit, as a share of the picture's side
_MANY = 12  # components; a picture with more is noisy
_DENSE = 0.28  # smallest share of ink in 3 x 3 pixels of a stroke; a thin stroke has 0.33, a dot 0.11
_SHORTEST = 0.15  # smallest length of a stroke in a noisy picture, as a share of the picture's side
_NEAR = 0.03  # smallest share of the digit's ink that a part must have to belong to it, if it touches the digit
_FAR = 0.25  # the same share for a part whose distance is the digit's length


@dataclass(frozen=True)
class Cleared:
    """A picture's ink without clutter.

    Args:
        ink: float32 [h, w], 0…1.
        lines: Whether frame or grid lines were removed.
        specks: The number of other parts that were removed.
    """

    ink: NDArray[np.float32]
    lines: bool
    specks: int


def clear(ink: NDArray[np.float32]) -> Cleared | None:
    """Remove the ink that does not belong to the digit: float32 [h, w], 0…1; None: there is no digit."""
    factor = -(-max(ink.shape) // _SIDE)  # rounded up
    ink, ruled = _without_ruling(ink, factor)
    small = _pooled(ink, factor)
    part = _inside_lines(small > INKED)
    inside = small[part]
    cut = inside.shape != small.shape
    parts = label(inside > INKED)
    if len(parts) == 0:
        return None
    noisy = len(parts) > _MANY
    if noisy:
        smooth = _averaged(inside) > _DENSE
        if smooth.any():
            parts = label(smooth)
        elif max(_lengths(parts)) < _SHORTEST * max(inside.shape):
            return None  # dots only, no stroke
    kept, lines = _digit_of(parts, inside)
    if not kept.any():
        return None
    if kept.all() and not noisy and not cut:
        return Cleared(ink, ruled, 0)
    near = np.zeros(small.shape, np.bool_)
    near[part] = _dilated(parts.paint(kept))
    wide = near.repeat(factor, axis=0).repeat(factor, axis=1)[: ink.shape[0], : ink.shape[1]]
    lined = ruled or cut or bool(lines.any())
    return Cleared(np.where(wide, ink, np.float32(0.0)), lined, int((~kept & ~lines).sum()))


def _inside_lines(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns inside straight lines along two or more sides of the picture.

    The digit may touch these lines. All of `mask` (bool [h, w]) if there are no such lines, or no digit inside them.
    """
    height, width = mask.shape
    top, bottom = _between(mask.mean(axis=1))
    left, right = _between(mask.mean(axis=0))
    within, whole = (slice(top, bottom), slice(left, right)), (slice(None), slice(None))
    if (top > 0) + (bottom < height) + (left > 0) + (right < width) < 2:
        return whole
    ends = [np.flatnonzero(mask[within].any(axis=axis)) for axis in (0, 1)]
    if max(int(np.ptp(end)) if len(end) else 0 for end in ends) < 0.3 * max(mask.shape):
        return whole
    return within


def _between(coverage: NDArray[np.float64]) -> tuple[int, int]:
    """Return first and end of the pixels between lines at both ends; `coverage` float64 [length], 0…1, of ink."""
    rim = max(1, round(_RIM / 2 * len(coverage)))
    lines = coverage >= _LINE
    first, last = np.flatnonzero(lines[:rim]), np.flatnonzero(lines[-rim:])
    # One more pixel belongs to the line's soft edge.
    begin = int(first[-1]) + 2 if len(first) else 0
    end = len(coverage) - rim + int(last[0]) - 1 if len(last) else len(coverage)
    return begin, max(begin, end)


def _without_ruling(ink: NDArray[np.float32], factor: int) -> tuple[NDArray[np.float32], bool]:
    """Remove faint lines from one side of the picture to the other, as on ruled and squared paper."""
    found = False
    for axis in (1, 0):
        small = _pooled(ink, factor)
        rank = small.shape[axis] // 5
        if not (np.partition(small, rank, axis).take(rank, axis) > 0.05).any():
            continue
        rank = ink.shape[axis] // 5
        level = np.expand_dims(np.partition(ink, rank, axis).take(rank, axis), axis)  # ink on 80% of each line
        level = np.where((level > 0.05) & (level < 0.6), level, np.float32(0.0))
        if level.any() and float((level > 0).mean()) < 0.5:
            ink, found = np.clip((ink - level) / (1 - level), 0, 1), True
    return ink, found


def _pooled(ink: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return ink
    height, width = (-(-length // factor) for length in ink.shape)
    padded = np.zeros((height * factor, width * factor), np.float32)
    padded[: ink.shape[0], : ink.shape[1]] = ink
    # One slice at a time takes a tenth of the time of a maximum over two axes.
    for step in range(1, factor):
        np.maximum(padded[::factor], padded[step::factor], out=padded[::factor])
    rows = padded[::factor]
    for step in range(1, factor):
        np.maximum(rows[:, ::factor], rows[:, step::factor], out=rows[:, ::factor])
    return np.ascontiguousarray(rows[:, ::factor])


def _averaged(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(ink, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    averaged: NDArray[np.float32] = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / np.float32(9.0)
    return averaged


def _dilated(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask dilated by one pixel, to include the soft edge of strokes."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    grown: NDArray[np.bool_] = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown


def _digit_of(parts: Components, ink: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the components that are the digit, and those that are frames or lines: bool [N] each.

    Args:
        parts: The components.
        ink: float32 [h, w], 0…1.
    """
    mass = parts.sums(ink)
    top, left, bottom, right = parts.boxes.T.astype(np.float64)
    long = _lengths(parts)
    lines = _lines(parts, ink, mass) | _frames(parts)
    main = int(np.where(lines, 0.0, mass).argmax())
    if _is_empty_cell(parts, main):
        return np.zeros(len(parts), np.bool_), np.ones(len(parts), np.bool_)
    gap = np.maximum(
        np.maximum(top - bottom[main], top[main] - bottom), np.maximum(left - right[main], left[main] - right)
    )
    needed = _NEAR + (_FAR - _NEAR) * np.maximum(gap, 0.0) / long[main]
    kept = ~lines & (mass >= needed * mass[main])
    return kept, lines


def _lengths(parts: Components) -> NDArray[np.int64]:
    """Return the longer side of each component's box: int64 [N]."""
    top, left, bottom, right = parts.boxes.T
    lengths: NDArray[np.int64] = np.maximum(bottom - top, right - left)
    return lengths


def _is_empty_cell(parts: Components, at: int) -> bool:
    """Return whether a component is an empty, roughly square frame along all four sides of the picture."""
    height, width = parts.shape
    if tuple(parts.boxes[at]) != (0, 0, height, width) or not 0.7 < width / height < 1.4:
        return False
    only = np.zeros(len(parts), np.bool_)
    only[at] = True
    mask = parts.paint(only)
    y, x = max(1, round(_RIM * height)), max(1, round(_RIM * width))
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return min(side.mean() for side in sides) > 0.9 and not mask[y:-y, x:-x].any()


def _lines(parts: Components, ink: NDArray[np.float32], mass: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the components that are lines along the picture's edge: bool [N].

    Such a line covers a whole side, or the digit is away from the edge.
    """
    height, width = parts.shape
    top, left, bottom, right = parts.boxes.T
    sides = np.stack([top == 0, left == 0, bottom == height, right == width]).sum(axis=0)
    away = _AWAY * max(height, width)
    inside = (top >= away) & (left >= away) & (bottom <= height - away) & (right <= width - away)
    long = _lengths(parts)
    digits = (long >= _LEAST * max(height, width)) & (mass >= 0.1 * mass.max())
    rim = ink.copy()
    y, x = max(1, round(_RIM * height)), max(1, round(_RIM * width))
    rim[y:-y, x:-x] = 0.0
    outer = parts.sums(rim) >= 0.8 * mass
    found = np.zeros(len(parts), np.bool_)
    if (digits & inside).any():
        found |= outer & (sides > 0)
    if (digits & ~outer).any():
        found |= outer & (sides >= 3)  # it covers one whole side
    return found


def _frames(parts: Components) -> NDArray[np.bool_]:
    """Return the components that are rectangles around another component: bool [N]."""
    top, left, bottom, right = parts.boxes.T
    found = np.zeros(len(parts), np.bool_)
    area = (bottom - top) * (right - left)
    for at in np.flatnonzero(area >= 0.2 * parts.shape[0] * parts.shape[1]):
        within = (top > top[at]) & (left > left[at]) & (bottom < bottom[at]) & (right < right[at])
        long = np.maximum(bottom - top, right - left)
        if not (within & (long >= 0.3 * long[at])).any():
            continue
        mine = np.zeros(len(parts), np.bool_)
        mine[at] = True
        found[at] = has_corners(parts.paint(mine)[top[at] : bottom[at], left[at] : right[at]])
    return found


def has_corners(mask: NDArray[np.bool_]) -> bool:
    """Return whether each corner of a mask (bool [h, w]) has a set pixel, as for a roughly upright rectangle."""
    height, width = (max(1, round(0.1 * side)) for side in mask.shape)
    corners = (mask[:height, :width], mask[:height, -width:], mask[-height:, :width], mask[-height:, -width:])
    return all(corner.any() for corner in corners)
