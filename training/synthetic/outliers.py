"""Outliers for networks of digits: strokes, shapes, and digits that are cut, mixed, rotated or combined wrongly.

A network learns the class "unknown" from them (D. Hendrycks, M. Mazeika, T. Dietterich, "Deep Anomaly Detection with
Outlier Exposure", 2019). None imitates letters, hands, clothes or photographs: with those, an evaluation tests whether
the network also recognises outliers that it was not trained on.
A picture that resembles a digit by chance is drawn again (`training.synthetic.likeness`).
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.synthetic.raster import SIDE, Digits, Ink, Raw, Rng, drawn, enlarged, grey, resized
from training.synthetic.scenes import Scene, shown

Stroke = NDArray[np.float64]  # [k, 2], x and y in 0…1

_LARGE = 2 * SIDE
_ON_PAPER = 0.35  # share of the outliers that are drawn into a scene, as digits are
_SCENE = Scene(degrees=20.0, frame=0.1, residue=0.05, specks=0.15, jpeg=0.2)


def _several(draw: Callable[[Rng], list[Stroke]]) -> Callable[[Digits, Rng], Raw]:
    """Return a kind that draws the strokes of each picture with a function."""

    def kind(digits: Digits, rng: Rng) -> Raw:
        width = 1.5 + 7.0 * rng.random(len(digits.ink)) ** 1.5
        return _shown(np.stack([drawn(draw(rng), float(one), _LARGE) for one in width]), rng)

    kind.__name__, kind.__doc__ = draw.__name__.strip("_"), draw.__doc__
    return kind


def _shown(ink: Ink, rng: Rng) -> Raw:
    """Return reduced pictures, bright on black; some of them in a scene."""
    on_paper = rng.random(len(ink)) < _ON_PAPER
    pictures = list(grey(resized(ink, int(rng.choice([20, 28, 40])))))
    for at, picture in zip(np.flatnonzero(on_paper).tolist(), shown(ink[on_paper], rng, _SCENE), strict=True):
        pictures[at] = picture
    return pictures


# ---------------------------------------------------------------- strokes


def _smooth(points: Stroke, steps: int = 8) -> Stroke:
    """Return a cubic B-spline along the points: float64 [k, 2] → [(k − 1) · steps, 2]."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = (np.arange(steps) / steps)[:, None]
    basis = np.concatenate(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )  # [steps, 4]
    windows = np.stack([padded[at : at + 4] for at in range(len(padded) - 3)])  # [k − 1, 4, 2]
    curve: Stroke = (basis @ windows / 6).reshape(-1, 2)
    return curve


def _scribble(rng: Rng) -> list[Stroke]:
    """Draw one long line with many turns."""
    points = rng.uniform(0.1, 0.9, (int(rng.integers(6, 16)), 2))
    return [_smooth(points)]


def _hatching(rng: Rng) -> list[Stroke]:
    """Draw a line to and fro, as for crossing something out."""
    count = int(rng.integers(5, 12))
    along, across = np.linspace(0.15, 0.85, count), np.where(np.arange(count) % 2, 0.8, 0.2)
    points = np.stack([along, across], axis=1) + rng.normal(0.0, 0.05, (count, 2))
    angle = rng.uniform(0.0, math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = (points - 0.5) @ turn.T * 0.9 + 0.5
    return [_smooth(points) if rng.random() < 0.5 else points]


def _curves(rng: Rng) -> list[Stroke]:
    """Draw two to five short curves at random places."""
    strokes = []
    for _ in range(int(rng.integers(2, 6))):
        middle = rng.uniform(0.25, 0.75, 2)
        strokes.append(_smooth(middle + rng.normal(0.0, 0.22, (int(rng.integers(3, 6)), 2))).clip(0.03, 0.97))
    return strokes


def _polyline(rng: Rng) -> list[Stroke]:
    """Draw a line with corners, open or closed, perhaps crossed by another."""
    points = rng.uniform(0.08, 0.92, (int(rng.integers(4, 9)), 2))
    strokes = [np.concatenate([points, points[:1]]) if rng.random() < 0.35 else points]
    if rng.random() < 0.35:
        strokes.append(rng.uniform(0.08, 0.92, (2, 2)))
    return strokes


def _sign(rng: Rng) -> list[Stroke]:
    """Draw an invented sign: straight and curved strokes between the points of a lattice, most of them joined."""
    columns, rows = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    wide = rng.uniform(0.3, 0.8)
    lattice = np.stack(
        [
            np.array([0.5 + (x / (columns - 1) - 0.5) * wide, 0.1 + 0.8 * y / (rows - 1)])
            for y in range(rows)
            for x in range(columns)
        ]
    )
    lattice = lattice + rng.normal(0.0, 0.03, lattice.shape)
    strokes, at = [], int(rng.integers(len(lattice)))
    for _ in range(int(rng.integers(3, 6))):
        to = int(rng.integers(len(lattice) - 1))
        to += to >= at
        start, end = lattice[at], lattice[to]
        strokes.append(_bow(start, end, rng.choice([0.0, 0.0, 0.35, -0.35]) * rng.uniform(0.5, 1.5)))
        at = to if rng.random() < 0.7 else int(rng.integers(len(lattice)))
    return strokes


def _bow(start: Stroke, end: Stroke, rise: float) -> Stroke:
    """Return a curve from one point to another, bent sideways by `rise` of its length: float64 [9, 2]."""
    t = np.linspace(0.0, 1.0, 9)[:, None]
    normal = np.array([start[1] - end[1], end[0] - start[0]])
    curve: Stroke = start + t * (end - start) + 4 * t * (1 - t) * rise * normal
    return curve


def _rays(rng: Rng) -> list[Stroke]:
    """Draw lines from one point: crosses, stars, forks."""
    count, middle = int(rng.integers(3, 9)), rng.uniform(0.4, 0.6, 2)
    angles = rng.uniform(0.0, 2 * math.pi) + np.arange(count) * 2 * math.pi / count + rng.normal(0.0, 0.15, count)
    reach = rng.uniform(0.25, 0.45, count)
    tips = middle + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return [np.stack([middle, tip]) for tip in tips]


def _parallels(rng: Rng) -> list[Stroke]:
    """Draw parallel lines, perhaps crossed by others: bars, ladders, grids."""
    strokes = []
    angle, slant = rng.uniform(0.0, math.pi), rng.normal(math.pi / 2, 0.2)
    for turn, count in ((angle, int(rng.integers(2, 6))), (angle + slant, int(rng.integers(0, 5)))):
        along, across = (np.array([math.cos(a), math.sin(a)]) for a in (turn, turn + math.pi / 2))
        for place in np.linspace(-0.32, 0.32, max(count, 1))[:count] + rng.normal(0.0, 0.02, count):
            reach = rng.uniform(0.25, 0.42)
            strokes.append(np.stack([0.5 + place * across - reach * along, 0.5 + place * across + reach * along]))
    return strokes


def _spiral(rng: Rng) -> list[Stroke]:
    """Draw a spiral of several turns, or concentric rings."""
    if rng.random() < 0.5:
        t = np.linspace(0.0, 1.0, 60)
        angle = rng.uniform(0, 2 * math.pi) + rng.choice([-1, 1]) * t * 2 * math.pi * rng.uniform(2.5, 4.0)
        return [0.5 + 0.42 * t[:, None] * np.stack([np.cos(angle), rng.uniform(0.6, 1.0) * np.sin(angle)], axis=1)]
    angle = np.linspace(0.0, 2 * math.pi, 33)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.6, 1.0, 2)
    return [
        0.5 + rng.normal(0.0, 0.02, 2) + radius * ring for radius in np.linspace(0.43, 0.1, int(rng.integers(3, 5)))
    ]


def _outline(rng: Rng) -> list[Stroke]:
    """Draw the outline of a polygon or of a star, sometimes with a mark in it."""
    count = int(rng.integers(3, 8))
    angle = rng.uniform(0.0, 2 * math.pi) + np.arange(2 * count + 1) * math.pi / count
    # A polygon of five sides or more looks like a 0 if drawn with a pen; a star does not.
    inner = rng.choice([math.cos(math.pi / count), 0.5] if count < 5 else [0.45, 0.6])
    reach = np.where(np.arange(2 * count + 1) % 2, inner, 1.0)
    points = 0.5 + 0.42 * reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.6, 1.0, 2)
    strokes = [points]
    if rng.random() < 0.4:
        strokes.append(rng.uniform(0.25, 0.75, (int(rng.integers(2, 4)), 2)))
    return strokes


def _dots(rng: Rng) -> list[Stroke]:
    """Draw dots and short dashes."""
    starts = rng.uniform(0.1, 0.9, (int(rng.integers(3, 14)), 2))
    return [np.stack([start, start + rng.normal(0.0, 0.04, 2)]) for start in starts]


scribble = _several(_scribble)
hatching = _several(_hatching)
curves = _several(_curves)
polyline = _several(_polyline)
sign = _several(_sign)
rays = _several(_rays)
parallels = _several(_parallels)
spiral = _several(_spiral)
outline = _several(_outline)
dots = _several(_dots)


# ---------------------------------------------------------------- digits changed beyond recognition

_BOX = slice(4, 24)  # rows and columns of 28 that contain MNIST's digits


def overlapping(digits: Digits, rng: Rng) -> Raw:
    """Draw two digits over each other, diagonally shifted by about half their size; neither is a 1."""
    first, second = _others(digits, rng, (1,)), _others(digits, rng, (1,))
    angle = rng.uniform(0.15, 0.35, len(first)) * math.pi + rng.integers(0, 4, len(first)) * math.pi / 2
    shift = np.rint(np.stack([np.sin(angle), np.cos(angle)], axis=1) * rng.uniform(9.0, 13.0, (len(first), 1)))
    wide = np.pad(digits.ink, ((0, 0), (12, 12), (12, 12)))
    moves = shift.astype(int).tolist()
    ink = [np.maximum(wide[a], np.roll(wide[b], move, (0, 1))) for a, b, move in zip(first, second, moves, strict=True)]
    return _shown(enlarged(np.stack(ink), _LARGE), rng)


def jigsaw(digits: Digits, rng: Rng) -> Raw:
    """Cut a digit into 4 to 25 pieces, and put them together in another order; not a 1, whose pieces are all alike."""
    ink = digits.ink[_others(digits, rng, (1,))][:, _BOX, _BOX]
    pictures = np.zeros((len(ink), SIDE, SIDE), np.float32)
    for picture, one in zip(pictures, ink, strict=True):
        cuts = int(rng.choice([2, 2, 4, 5]))
        size = 20 // cuts
        tiles = one.reshape(cuts, size, cuts, size).swapaxes(1, 2).reshape(-1, size, size)
        # Of four pieces, all change places; of more, some may stay.
        order = np.roll(np.arange(4), int(rng.integers(1, 4))) if cuts == 2 else rng.permutation(len(tiles))
        mixed = tiles[order]
        picture[_BOX, _BOX] = mixed.reshape(cuts, cuts, size, size).swapaxes(1, 2).reshape(20, 20)
    return _shown(enlarged(pictures, _LARGE), rng)


def row(digits: Digits, rng: Rng) -> Raw:
    """Draw three to five digits in a row or a column: a number, not a digit."""
    pictures = []
    for _ in range(len(digits.ink)):
        members = rng.integers(0, len(digits.ink), int(rng.integers(3, 6)))
        step = int(rng.integers(12, 21))
        line = np.zeros((SIDE, SIDE + step * (len(members) - 1)), np.float32)
        for place, member in enumerate(members):
            left = place * step
            line[:, left : left + SIDE] = np.maximum(line[:, left : left + SIDE], digits.ink[member])
        pictures.append(grey(line.T if rng.random() < 0.2 else line))
    return pictures


def accompanied(digits: Digits, rng: Rng) -> Raw:
    """Draw a digit, and an invented sign of its height beside it."""
    box, gap = digits.ink[:, _BOX, _BOX], rng.integers(0, 7, len(digits.ink)).tolist()
    pictures = []
    for one, apart in zip(box, gap, strict=True):
        digit = one[:, one.max(axis=0) > 0.2]
        strokes = _COMPANIONS[int(rng.integers(len(_COMPANIONS)))](rng)
        sign = resized(drawn(strokes, rng.uniform(4.0, 9.0), _LARGE)[None], 20)[0]
        sign = sign[:, sign.max(axis=0) > 0.2]
        between = np.zeros((20, apart), np.float32)
        pair = [digit, between, sign] if rng.random() < 0.5 else [sign, between, digit]
        pictures.append(grey(np.pad(np.concatenate(pair, axis=1), 4)))
    return pictures


_COMPANIONS = (_sign, _curves, _polyline)

# Class → turns that leave no digit. Other classes stay digits, become other ones, or may pass for one if slanted: a
# mirrored 6 for another 6.
_MIRROR, _FLIP, _HALF = range(3)
_TURNS = {3: (_MIRROR, _HALF), 4: (_MIRROR, _FLIP), 7: (_FLIP, _HALF)}


def turned_digit(digits: Digits, rng: Rng) -> Raw:
    """Mirror or flip a digit of a class for which that leaves no digit."""
    members = _others(digits, rng, tuple(label for label in range(10) if label not in _TURNS))
    ink = [_turn(digits.ink[at], int(rng.choice(_TURNS.get(int(digits.labels[at]), (_FLIP,))))) for at in members]
    return _shown(enlarged(np.stack(ink), _LARGE), rng)


def _turn(image: Ink, how: int) -> Ink:
    return np.ascontiguousarray(np.flip(image, {_MIRROR: (1,), _FLIP: (0,), _HALF: (0, 1)}[how]))


# Class → halves that, with their mirror image, are no digit: axis of the mirror (1: vertical), and whether the half is
# the first one, left or upper.
_HALVES = {2: ((1, True),), 4: ((1, True), (1, False), (0, True)), 5: ((1, True),), 7: ((1, True), (1, False))}


def symmetric(digits: Digits, rng: Rng) -> Raw:
    """Draw half of a digit and its mirror image, for classes for which that is no digit."""
    members = _others(digits, rng, tuple(label for label in range(10) if label not in _HALVES))
    ink = [_symmetric(digits.ink[at], _HALVES.get(int(digits.labels[at]), _HALVES[4]), rng) for at in members]
    return _shown(enlarged(np.stack(ink), _LARGE), rng)


def _symmetric(image: Ink, choice: tuple[tuple[int, bool], ...], rng: Rng) -> Ink:
    axis, first = choice[int(rng.integers(len(choice)))]
    lines = np.flatnonzero(image.max(axis=1 - axis) > 0.2)
    middle = round((lines[0] + lines[-1] + 1) / 2 + rng.uniform(-2.0, 2.0)) if lines.size else SIDE // 2
    way = np.moveaxis(image, axis, 0)
    half = way[max(0, middle - SIDE // 2) : middle] if first else way[middle : middle + SIDE // 2][::-1]
    whole = np.concatenate([half, half[::-1]])
    spare = SIDE - len(whole)
    padded = np.pad(whole, ((spare // 2, spare - spare // 2), (0, 0)))
    return np.ascontiguousarray(np.moveaxis(padded, 0, axis))


def _others(digits: Digits, rng: Rng, without: tuple[int, ...]) -> NDArray[np.int64]:
    """Draw n indices of digits of other classes than these, n the number of digits: int64 [n].

    If there are no other classes, any digits are drawn.
    """
    members = np.flatnonzero(~np.isin(digits.labels, without))
    return rng.choice(members if members.size else np.arange(len(digits.labels)), len(digits.labels))
