"""Digits drawn stroke by stroke, in styles that are common outside the country of MNIST's writers.

Examples are a 1 with a flag or a foot, a crossed 7, an open 4, and an 8 of two rings. Lines have one width.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.synthetic.raster import Digits, Rng, drawn

Points: TypeAlias = tuple[tuple[float, float], ...]  # x and y in 0…1 of the digit's box, y downwards

_SIDE = 56  # pixels of a drawing
_WOBBLE = 0.03  # of the box: standard deviation of each point, as of an unsteady hand
_STEPS = 6  # points of a curve for each point that defines it


def _ring(x: float, y: float, wide: float, high: float) -> Points:
    """Return points of an ellipse, from the top and a little beyond the start."""
    angles = [math.tau * (at / 9 - 0.25) for at in range(11)]
    return tuple((x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles)


def _curve(*points: tuple[float, float]) -> tuple[bool, Points]:
    return True, points


def _line(*points: tuple[float, float]) -> tuple[bool, Points]:
    return False, points


_STEM = _line((0.5, 0.0), (0.5, 1.0))
_BELLY = _curve((0.2, 0.43), (0.5, 0.35), (0.82, 0.55), (0.76, 0.87), (0.42, 1.0), (0.1, 0.88))
_LOWER_3 = _curve((0.38, 0.46), (0.74, 0.55), (0.8, 0.82), (0.46, 1.0), (0.1, 0.88))
_LOOP_9 = _curve((0.8, 0.24), (0.52, 0.02), (0.2, 0.24), (0.4, 0.5), (0.74, 0.38), (0.8, 0.22))
_ROOF_2 = _curve((0.12, 0.25), (0.34, 0.03), (0.66, 0.04), (0.82, 0.26), (0.66, 0.52), (0.1, 0.98))

#: Styles of each digit. A style has strokes: curves (True) or lines with corners (False) through points.
_STYLES: tuple[tuple[tuple[tuple[bool, Points], ...], ...], ...] = (
    ((_curve(*_ring(0.5, 0.5, 0.38, 0.5)),),),
    (
        (_STEM,),
        (_line((0.22, 0.26), (0.55, 0.0), (0.55, 1.0)),),
        (_line((0.05, 0.5), (0.55, 0.0), (0.55, 1.0)),),
        (_line((0.25, 0.22), (0.52, 0.0), (0.52, 1.0)), _line((0.18, 1.0), (0.85, 1.0))),
        (_STEM, _line((0.22, 1.0), (0.78, 1.0))),
    ),
    (
        (_ROOF_2, _line((0.1, 0.98), (0.9, 0.98))),
        (_curve(*_ROOF_2[1][:5], (0.3, 0.93), (0.1, 0.86), (0.25, 0.76), (0.55, 0.95), (0.92, 0.9)),),
    ),
    (
        (_curve((0.12, 0.14), (0.42, 0.0), (0.76, 0.16), (0.66, 0.39), (0.38, 0.46)), _LOWER_3),
        (_line((0.12, 0.02), (0.8, 0.02), (0.38, 0.46)), _LOWER_3),
    ),
    (
        (_line((0.64, 0.0), (0.06, 0.68), (0.94, 0.68)), _line((0.66, 0.02), (0.66, 1.0))),
        (_line((0.24, 0.0), (0.12, 0.56), (0.9, 0.56)), _line((0.7, 0.08), (0.66, 1.0))),
        (_line((0.42, 0.0), (0.08, 0.64), (0.92, 0.64)), _line((0.62, 0.36), (0.6, 1.0))),
    ),
    (
        (_line((0.8, 0.02), (0.26, 0.02), (0.2, 0.43)), _BELLY),
        (_line((0.24, 0.04), (0.2, 0.43)), _BELLY, _line((0.24, 0.04), (0.84, 0.02))),
    ),
    (
        (
            _curve(
                (0.7, 0.0), (0.32, 0.24), (0.12, 0.62), (0.26, 0.95),
                (0.6, 0.98), (0.8, 0.76), (0.6, 0.54), (0.16, 0.74),
            ),
        ),
    ),
    (
        (_line((0.1, 0.02), (0.88, 0.02), (0.4, 1.0)),),
        (_line((0.1, 0.02), (0.88, 0.02), (0.4, 1.0)), _line((0.28, 0.5), (0.84, 0.48))),
        (_line((0.1, 0.2), (0.1, 0.02), (0.88, 0.02), (0.4, 1.0)),),
        (
            _line((0.1, 0.04), (0.86, 0.02)),
            _curve((0.86, 0.02), (0.58, 0.42), (0.45, 1.0)),
            _line((0.3, 0.5), (0.8, 0.5)),
        ),
    ),
    (
        (
            _curve(
                (0.74, 0.14), (0.46, 0.0), (0.2, 0.18), (0.42, 0.44), (0.72, 0.6), (0.8, 0.82), (0.5, 1.0), (0.2, 0.82),
                (0.34, 0.6), (0.62, 0.42), (0.78, 0.2), (0.66, 0.06),
            ),
        ),
        (_curve(*_ring(0.5, 0.23, 0.25, 0.23)), _curve(*_ring(0.5, 0.73, 0.3, 0.27))),
    ),
    (
        (_LOOP_9, _line((0.8, 0.22), (0.76, 1.0))),
        (_LOOP_9, _curve((0.8, 0.22), (0.8, 0.6), (0.68, 0.9), (0.4, 1.0), (0.16, 0.9))),
    ),
)  # fmt: skip


def sample(count: int, rng: Rng) -> Digits:
    """Draw `count` random digits in random styles, with random deviations: [count, 56, 56] and their labels."""
    labels = rng.integers(0, 10, count)
    widths = rng.uniform(1.6, 5.0, count).tolist()
    ink = np.stack([_draw(label, width, rng) for label, width in zip(labels.tolist(), widths, strict=True)])
    return Digits(ink, labels)


def _draw(label: int, width: float, rng: Rng) -> NDArray[np.float32]:
    styles = _STYLES[label]
    wide, slant = rng.uniform(0.45, 0.85), rng.normal(0.0, 0.12)
    strokes = []
    for curved, points in styles[int(rng.integers(len(styles)))]:
        place = np.array(points) + rng.normal(0.0, _WOBBLE, (len(points), 2))
        line = _through(place) if curved else place
        x, y = (line[:, 0] - 0.5) * wide, line[:, 1] - 0.5
        strokes.append(0.5 + 0.75 * np.stack([x - slant * y, y], axis=1))
    return drawn(strokes, width, _SIDE)


def _through(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a curve through the points (E. Catmull, R. Rom, 1974): float64 [k, 2] → [(k − 1) · steps + 1, 2]."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, start, end, after = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    t = (np.arange(_STEPS) / _STEPS)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )  # [k − 1, steps, 2]
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])
