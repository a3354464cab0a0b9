"""Scenes that show digits as cameras and screens do: on paper, in light and shadow, in boxes, off-centre, noisy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.synthetic.degradations import pen, through_jpeg, uniform_pen
from training.synthetic.raster import Digits, Ink, Raw, Rng, blur, chosen, field, grey, uniform

_GROUP = 25  # pictures of the same size, computed as one array


@dataclass(frozen=True)
class Scene:
    """The parameters of a scene. Each picture gets random values within the limits.

    Args:
        sides: Smallest and largest side of the picture, in pixels.
        height: Smallest and largest height of the digit, as a share of the side.
        degrees: Largest rotation, to either side.
        contrast: Smallest and largest contrast between ink and paper, as a share of white.
        light: Largest effect of light and shadow on the paper, as a share of the contrast.
        grain: Largest grain of paper and sensor, as a share of the contrast.
        frame: Share of the pictures with lines at one or more sides: a box around the digit.
        rules: Share of the pictures with ruled or squared paper.
        residue: Share of the pictures with the end of another stroke at the border.
        specks: Share of the pictures with dirt.
        jpeg: Share of the pictures with JPEG compression.
        inverted: Share of the pictures with bright ink on dark paper.
    """

    sides: tuple[int, int] = (20, 90)
    height: tuple[float, float] = (0.35, 0.85)
    degrees: float = 12.0
    contrast: tuple[float, float] = (0.3, 1.0)
    light: float = 0.4
    grain: float = 0.12
    frame: float = 0.0
    rules: float = 0.0
    residue: float = 0.0
    specks: float = 0.0
    jpeg: float = 0.0
    inverted: float = 0.3


PHOTO = Scene(degrees=20.0, residue=0.15, specks=0.3, jpeg=0.3)
CANVAS = Scene((28, 120), (0.2, 0.9), 10.0, (0.6, 1.0), light=0.0, grain=0.0, inverted=0.5)
CELL = Scene((24, 64), (0.45, 0.75), 6.0, frame=0.85, residue=0.1, specks=0.1, jpeg=0.3, inverted=0.15)
RULED = Scene((28, 90), (0.4, 0.8), 12.0, rules=1.0, jpeg=0.2, inverted=0.1)
PRINT = Scene((16, 64), (0.4, 0.9), 4.0, (0.4, 1.0), light=0.2, grain=0.05, jpeg=0.2)


def photo(digits: Digits, rng: Rng) -> Raw:
    """Draw digits as photographed on paper: uneven light, grain, specks, another stroke at the border, JPEG."""
    return shown(pen(digits.ink, rng), rng, PHOTO)


def canvas(digits: Digits, rng: Rng) -> Raw:
    """Draw digits as on a screen: strokes of one width, no grain, any place and size."""
    return shown(uniform_pen(digits.ink, rng), rng, CANVAS)


def cell(digits: Digits, rng: Rng) -> Raw:
    """Draw digits in a box of a form or a Sudoku, cropped with parts of its lines."""
    return shown(pen(digits.ink, rng), rng, CELL)


def ruled(digits: Digits, rng: Rng) -> Raw:
    """Draw digits on ruled or squared paper."""
    return shown(pen(digits.ink, rng), rng, RULED)


def drawn_canvas(digits: Digits, rng: Rng) -> Raw:
    """Draw digits of `training.synthetic.styles` as on a screen."""
    return shown(digits.ink, rng, CANVAS)


def drawn_photo(digits: Digits, rng: Rng) -> Raw:
    """Draw digits of `training.synthetic.styles` as photographed on paper."""
    return shown(digits.ink, rng, PHOTO)


def printed(digits: Digits, rng: Rng) -> Raw:
    """Draw printed digits, nearly upright, on clean paper or a screen."""
    return shown(digits.ink, rng, PRINT)


def printed_cell(digits: Digits, rng: Rng) -> Raw:
    """Draw printed digits in a box, as of a Sudoku, a form or a meter."""
    return shown(digits.ink, rng, CELL)


def printed_photo(digits: Digits, rng: Rng) -> Raw:
    """Draw printed digits as in a photograph of a sign or a label."""
    return shown(digits.ink, rng, PHOTO)


def shown(strokes: Ink, rng: Rng, scene: Scene) -> Raw:
    """Draw strokes into a scene.

    Args:
        strokes: float32 [n, h, w], with the digit at any place.
        rng: Random generator.
        scene: Parameters of the scene.

    Returns:
        n pictures uint8 [side, side], of several sizes.
    """
    pictures: list[NDArray[np.uint8]] = []
    for start in range(0, len(strokes), _GROUP):
        group = strokes[start : start + _GROUP]
        low, high = scene.sides
        side = round(low * (high / low) ** rng.random())  # uniform in log(side)
        ink = np.stack([_placed(one, side, rng, scene) for one in group])
        found = grey(_exposed(ink, rng, scene))
        through = rng.random(len(found)) < scene.jpeg
        pictures += [
            through_jpeg(one, int(rng.integers(30, 85))) if lossy else one
            for one, lossy in zip(found, through, strict=True)
        ]
    return pictures


def _placed(strokes: Ink, side: int, rng: Rng, scene: Scene) -> Ink:
    """Crop strokes to their ink, rotate, scale and place them in the picture: [h, w] → [side, side]."""
    rows, columns = (np.flatnonzero((strokes > 0.2).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return np.zeros((side, side), np.float32)
    crop = Image.fromarray(strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    crop = crop.rotate(rng.uniform(-scene.degrees, scene.degrees), Image.Resampling.BILINEAR, expand=True)
    factor = rng.uniform(*scene.height) * side / max(crop.size)
    width, height = (max(3, round(length * factor)) for length in crop.size)
    small = np.asarray(crop.resize((width, height), Image.Resampling.BILINEAR))
    room = np.array([side - width, side - height])
    # Near the centre, as people aim for it; at most half of the free space away.
    left, top = np.rint(room / 2 + rng.uniform(-0.5, 0.5, 2) * room * 0.9 * rng.random()).astype(int).clip(0, room)
    image = np.zeros((side, side), np.float32)
    image[top : top + height, left : left + width] = small
    return image


def _exposed(ink: Ink, rng: Rng, scene: Scene) -> Ink:
    """Return grey levels of ink on paper, with light, blur and noise: [n, side, side] → the same, 0…1."""
    count, side = len(ink), ink.shape[1]
    contrast = uniform(rng, *scene.contrast, count)
    paper = np.broadcast_to(1.0 - (1.0 - contrast) * uniform(rng, 0.0, 1.0, count), ink.shape).astype(np.float32)
    picture = paper - contrast * np.maximum(ink, _other_marks(ink, rng, scene))
    if scene.light:
        shade = field(rng, count, side, 2) * 0.5 + _slope(rng, count, side)
        # Shadow darkens ink and paper alike.
        picture *= 1.0 - scene.light * contrast * uniform(rng, 0.0, 1.0, count) * np.clip(shade * 0.5 + 0.5, 0.0, 1.0)
    picture = blur(picture, uniform(rng, 0.05, 0.02 * side + 0.3, count))
    if scene.grain:
        level = scene.grain * contrast * uniform(rng, 0.0, 1.0, count)
        grain = rng.standard_normal(ink.shape, np.float32) + field(rng, count, side, side // 3)
        picture = picture + 0.7 * level * grain
    return np.where(chosen(rng, scene.inverted, count), 1.0 - picture, picture).astype(np.float32)


def _slope(rng: Rng, count: int, side: int) -> Ink:
    """Return light that comes from one side: [n, side, side] in −1…1."""
    axis = np.linspace(-1.0, 1.0, side, dtype=np.float32)
    angle = uniform(rng, 0.0, 2 * np.pi, count)
    return axis[None, None, :] * np.cos(angle) * 0.7 + axis[None, :, None] * np.sin(angle) * 0.7


def _other_marks(ink: Ink, rng: Rng, scene: Scene) -> Ink:
    """Draw frames, rules, ends of other strokes and specks: [n, side, side], 0…1."""
    count, side = len(ink), ink.shape[1]
    marks = np.zeros_like(ink)
    happens = rng.random((4, count)) < np.array([[scene.frame], [scene.rules], [scene.residue], [scene.specks]])
    for image, framed, lined, neighboured, dirty in zip(marks, *happens, strict=True):
        if framed:
            image[:] = np.maximum(image, _frame(side, rng) * rng.uniform(0.4, 1.0))
        if lined:
            image[:] = np.maximum(image, _rules(side, rng) * rng.uniform(0.1, 0.4))
        if neighboured:
            _neighbour(image, rng)
        if dirty:
            _specks(image, rng)
    return marks


def _frame(side: int, rng: Rng) -> Ink:
    """Draw slightly tilted lines at one to four sides, near the border: [side, side], 0 or 1."""
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    sides = rng.permutation(4)[: int(rng.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.15, 0.3]))]
    width = max(1, round(side * rng.uniform(0.01, 0.06)))
    for which in sides.tolist():
        near, far = (rng.uniform(-0.02, 0.07, 2) * side).tolist()
        if which % 2:
            near, far = side - 1 - near, side - 1 - far
        points = [(0, near), (side, far)] if which < 2 else [(near, 0), (far, side)]
        draw.line(points, fill=1, width=width)
    return np.asarray(image).astype(np.float32)


def _rules(side: int, rng: Rng) -> Ink:
    """Draw thin parallel lines across, and on squared paper also down: [side, side], 0 or 1."""
    gap = side * rng.uniform(0.14, 0.5)
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    tilt = rng.uniform(-0.05, 0.05) * side
    squared = rng.random() < 0.4
    for at in np.arange(rng.uniform(0, gap), side, gap).tolist():
        draw.line([(0, at), (side, at + tilt)], fill=1)
        if squared:
            draw.line([(at, 0), (at - tilt, side)], fill=1)
    return np.asarray(image).astype(np.float32)


def _neighbour(image: Ink, rng: Rng) -> None:
    """Draw the end of a stroke that enters from a side, in place: [side, side]."""
    side = len(image)
    reach, thick = max(1, round(side * rng.uniform(0.02, 0.08))), max(1, round(side * rng.uniform(0.04, 0.3)))
    start = int(rng.integers(0, side - thick + 1))
    edge = image if rng.random() < 0.5 else image.T
    edge[slice(0, reach) if rng.random() < 0.5 else slice(side - reach, side), start : start + thick] = 1.0


def _specks(image: Ink, rng: Rng) -> None:
    """Draw a few specks, in place: [side, side]."""
    side = len(image)
    for _ in range(int(rng.integers(1, 6))):
        size = max(1, round(side * rng.uniform(0.0, 0.035)))
        top, left = rng.integers(0, side - size, 2)
        image[top : top + size, left : left + size] = rng.uniform(0.3, 1.0)
