"""Outliers without strokes for networks of digits: noise, waves, gradients, blobs, shaded silhouettes."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.synthetic.raster import Digits, Ink, Raw, Rng, blur, chosen, clouds, field, grey, uniform

_GROUP = 50  # pictures of the same size, computed as one array


def noise(digits: Digits, rng: Rng) -> Raw:
    """Draw noise with many spectra, from white noise to clouds; some in black and white."""

    def draw(count: int, side: int) -> Ink:
        image = clouds(rng, count, side, float(rng.uniform(0.4, 1.6)))
        image += uniform(rng, 0.0, 1.0, count) * rng.standard_normal(image.shape, np.float32)
        return _levels(image, rng)

    return _in_groups(len(digits.ink), rng, draw)


def spots(digits: Digits, rng: Rng) -> Raw:
    """Draw spots: a smooth random field, cut at a level."""

    def draw(count: int, side: int) -> Ink:
        image = field(rng, count, side, int(rng.integers(2, 9))) + 0.2 * field(rng, count, side, side // 3)
        return (image - uniform(rng, -0.5, 1.2, count)) * uniform(rng, 1.0, 12.0, count)

    return _in_groups(len(digits.ink), rng, draw)


def waves(digits: Digits, rng: Rng) -> Raw:
    """Draw gratings, checks and plaids, straight or warped, smooth or hard."""

    def draw(count: int, side: int) -> Ink:
        axis = (np.arange(side, dtype=np.float32) + 0.5) / side
        warp = field(rng, count, side, 2) * uniform(rng, 0.0, 0.8, count)
        total = np.ones((count, side, side), np.float32)
        for share in (1.0, 0.5):
            angle, many = uniform(rng, 0.0, math.pi, count), uniform(rng, 2.0, 8.0, count)
            across = axis[None, None, :] * np.cos(angle) + axis[None, :, None] * np.sin(angle)
            wave = np.sin(2 * math.pi * many * across + warp + uniform(rng, 0.0, 2 * math.pi, count))
            total = np.where(chosen(rng, share, count), total * wave, total)
        return (0.5 + total * uniform(rng, 0.3, 5.0, count)).astype(np.float32)

    return _in_groups(len(digits.ink), rng, draw)


def gradients(digits: Digits, rng: Rng) -> Raw:
    """Draw light that decreases to a side or from a point, smoothly or in steps."""

    def draw(count: int, side: int) -> Ink:
        axis = (np.arange(side, dtype=np.float32) + 0.5) / side
        x, y = axis[None, None, :] - uniform(rng, 0.0, 1.0, count), axis[None, :, None] - uniform(rng, 0.0, 1.0, count)
        angle = uniform(rng, 0.0, 2 * math.pi, count)
        straight, round_ = x * np.cos(angle) + y * np.sin(angle), np.hypot(x * uniform(rng, 0.5, 2.0, count), y)
        image = np.where(chosen(rng, 0.5, count), straight, round_)
        image = image + uniform(rng, 0.0, 0.15, count) * field(rng, count, side, 4)
        low, high = image.min(axis=(1, 2), keepdims=True), image.max(axis=(1, 2), keepdims=True)
        image = (image - low) / np.maximum(high - low, 1e-6)
        steps = np.rint(uniform(rng, 1.0, 6.0, count))
        found: Ink = np.where(chosen(rng, 0.5, count), image, np.rint(image * steps) / steps).astype(np.float32)
        return found

    return _in_groups(len(digits.ink), rng, draw)


def silhouettes(digits: Digits, rng: Rng) -> Raw:
    """Draw a shaded body of a few round and angular parts, symmetric or not, on a plain or shaded background."""

    def draw(count: int, side: int) -> Ink:
        body = np.stack([_body(side, rng) for _ in range(count)])
        soft = blur(body, uniform(rng, 0.3, 0.04 * side, count))
        shade = 0.75 + uniform(rng, 0.0, 0.3, count) * clouds(rng, count, side, float(rng.uniform(0.4, 1.0)))
        # Brighter in the centre than at the rim, as round objects are.
        depth = np.clip(blur(body, 0.15 * side), 0.0, 1.0)
        shade = shade * (1.0 - uniform(rng, 0.0, 0.6, count) * (1.0 - depth))
        ground = uniform(rng, 0.0, 0.4, count) * chosen(rng, 0.5, count)
        ground = ground * (1.0 + 0.4 * field(rng, count, side, 2))
        image = (soft * shade + (1.0 - soft) * ground).astype(np.float32)
        return np.where(chosen(rng, 0.3, count), 1.0 - image, image)

    return _in_groups(len(digits.ink), rng, draw)


def _body(side: int, rng: Rng) -> Ink:
    """Draw the union of two to six parts around the centre: [side, side], 0 or 1."""
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    for part in range(int(rng.integers(2, 7))):
        # The first part is the trunk, and the others are attached to it.
        spread, least, most = (0.05, 0.2, 0.4) if part == 0 else (0.22, 0.06, 0.26)
        x, y = (0.5 + rng.uniform(-spread, spread, 2)).tolist()
        wide, high = rng.uniform(least, most, 2).tolist()
        if rng.random() < 0.5:
            box = [(x - wide) * side, (y - high) * side, (x + wide) * side, (y + high) * side]
            draw.ellipse(box, fill=1)
        else:
            angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 7))))
            draw.polygon([((x + wide * math.cos(a)) * side, (y + high * math.sin(a)) * side) for a in angles], fill=1)
    found = np.asarray(image).astype(np.float32)
    return np.maximum(found, found[:, ::-1]) if rng.random() < 0.5 else found


def shapes(digits: Digits, rng: Rng) -> Raw:
    """Draw one filled shape: a polygon, a star, an arrow, a cross, a blob, a disc with a hole or a bite."""
    pictures: list[NDArray[np.uint8]] = []
    for _ in range(len(digits.ink)):
        side = int(rng.integers(28, 57))
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        count = int(rng.integers(3, 10))
        angle = rng.uniform(0.0, 2 * math.pi) + np.arange(2 * count) * math.pi / count
        reach = (
            0.44 * np.where(np.arange(2 * count) % 2, rng.uniform(0.25, 1.0), 1.0) * rng.uniform(0.8, 1.0, 2 * count)
        )
        stretch = rng.uniform(0.5, 1.0, 2)
        points = (0.5 + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) * stretch) * side
        draw.polygon([(float(x), float(y)) for x, y in points], fill=255)
        if rng.random() < 0.4:
            x, y = (0.5 + rng.uniform(-0.35, 0.35, 2)) * side
            size = rng.uniform(0.05, 0.2) * side
            draw.ellipse([x - size, y - size, x + size, y + size], fill=0)
        picture = np.asarray(image)
        pictures.append(255 - picture if rng.random() < 0.3 else picture)
    return pictures


def dead_leaves(digits: Digits, rng: Rng) -> Raw:
    """Draw random shapes in random greys, one over another: the statistics of photographs, without objects.

    A. Lee, D. Mumford, J. Huang, "Occlusion Models for Natural Images", 2001.
    """
    pictures = []
    for _ in range(len(digits.ink)):
        side = int(rng.integers(28, 49))
        image = Image.new("L", (side, side), int(rng.integers(256)))
        draw = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(6, 40))):
            x, y = (rng.random(2) * side).tolist()
            size = float(min(0.05 / max(rng.random(), 0.05) ** 0.7, 0.5)) * side  # few large ones, many small ones
            tone, shape = int(rng.integers(256)), rng.random()
            if shape < 0.6:
                draw.ellipse([x - size, y - size * 0.8, x + size, y + size * 0.8], fill=tone)
            else:
                draw.regular_polygon((x, y, size), int(rng.integers(3, 6)), rotation=int(rng.integers(360)), fill=tone)
        pictures.append(np.asarray(image))
    return pictures


def _levels(image: Ink, rng: Rng) -> Ink:
    """Return a field of mean 0 and variance near 1 as grey levels, or in black and white: [n, h, w] → the same."""
    count = len(image)
    gain = np.where(chosen(rng, 0.3, count), 50.0, uniform(rng, 0.15, 0.5, count))
    found: Ink = (0.5 + (image - uniform(rng, -0.8, 0.8, count)) * gain).astype(np.float32)
    return found


def _in_groups(count: int, rng: Rng, draw: Callable[[int, int], Ink]) -> Raw:
    """Draw `count` pictures with `draw(n, side)`, in groups of the same size."""
    pictures: list[NDArray[np.uint8]] = []
    while len(pictures) < count:
        pictures += list(grey(draw(min(_GROUP, count - len(pictures)), int(rng.integers(20, 49)))))
    return pictures
