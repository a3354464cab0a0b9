"""Any picture of one digit → the form of MNIST's own images (`pigeonhole.imaging.digits.form`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.imaging.decode import Decoded
from pigeonhole.imaging.digits import clutter, form, ink
from pigeonhole.imaging.digits.form import SIDE, Box
from pigeonhole.imaging.preprocessings.digit import FINEST_SIDE

_WORKING_SIDE = 384  # pixels; a larger picture is reduced first, and a small digit in it then looked at closer
_CLOSER = 2 * form.BOX  # pixels; a digit that is smaller in a reduced picture is small
_SHEET = 0.72  # share of its box that a sheet of paper covers, and hardly a digit does
_BLANK = np.zeros((SIDE, SIDE), np.uint8)  # which is not of MNIST's form
_MARGIN = 0.08  # of its longer side, where a sheet may lie askew


@dataclass(frozen=True)
class Trace:
    """What the normalisation did with a picture.

    Args:
        pixels: uint8 [28, 28], the result: the ink bright on 0.
        size: Of the picture, width and height in pixels.
        box: The part of the picture that the digit was found in.
        unchanged: Whether the picture already had MNIST's form.
        dark: Whether the ink is darker than the paper: then it was inverted.
        paper: The paper's grey level, 0…255; where it is uneven, that of the brightest (the darkest, for bright ink).
        flattened: Whether the paper was uneven, by shadow or fog.
        lines: Whether lines beside the digit were taken away: a frame, a grid, ruled paper.
        specks: How many other things beside it were.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    box: Box
    unchanged: bool = False
    dark: bool = False
    paper: int = 0
    flattened: bool = False
    lines: bool = False
    specks: int = 0


def normalise(image: Decoded) -> NDArray[np.uint8]:
    """Bring one digit into MNIST's form; an image that has it comes back unchanged.

    Args:
        image: Mode "L" or uint8 [h, w], of at least 1 x 1 pixel, ink darker or brighter than the paper.

    Returns:
        uint8 [28, 28], the ink bright on 0.

    Raises:
        ImageError: `blank`: the image holds no contrast, or noise alone.
    """
    return trace(image).pixels


def trace(image: Decoded) -> Trace:
    """Do what `normalise` does, and tell it."""
    (short,), (done,) = _as_mnists([image])
    if done:
        same = np.array_equal(short, np.asarray(image))
        return Trace(short, (SIDE, SIDE), (0, 0, SIDE, SIDE), unchanged=same, dark=not same, paper=0 if same else 255)
    found = _bring(image)
    if isinstance(found, ImageError):
        raise found
    return found


def normalise_all(images: Sequence[Decoded]) -> tuple[NDArray[np.uint8], dict[int, ImageError]]:
    """Do the same for many: those that have MNIST's form, or have it inverted, are told all at once, at some 3 µs each.

    Returns:
        uint8 [n, 28, 28], what `normalise` gives for those that it gives something for, in order; and by the position
        of each other image what it raises.
    """
    pixels, done = _as_mnists(images)
    errors = {}
    for at in np.flatnonzero(~done).tolist():
        found = _bring(images[at])
        if isinstance(found, ImageError):
            errors[at] = found
        else:
            pixels[at] = found.pixels
    return np.delete(pixels, list(errors), axis=0) if errors else pixels, errors


def _as_mnists(images: Sequence[Decoded]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What those of N images come to that have MNIST's form, or have it inverted: uint8 [N, 28, 28], bool [N] which."""
    small = [np.asarray(image) if _size(image) == (SIDE, SIDE) else _BLANK for image in images]
    pixels = np.concatenate([_BLANK[:0], *small]).reshape(-1, SIDE, SIDE)
    normal = form.are_normal(pixels)
    if not normal.all():
        others = np.flatnonzero(~normal)
        inverted = others[form.are_inverted(pixels[others])]
        pixels[inverted] = 255 - pixels[inverted]
        normal[inverted] = True
    return pixels, normal


def _size(image: Decoded) -> tuple[int, int]:
    return image.size if isinstance(image, Image.Image) else (image.shape[1], image.shape[0])


def _bring(image: Decoded) -> Trace | ImageError:
    if max(_size(image)) <= _WORKING_SIDE:
        return _look(np.asarray(image), _size(image))
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if (factor := -(-max(picture.size) // FINEST_SIDE)) > 1:  # rounded up
        picture = picture.reduce(factor)
    reduced = picture.reduce(-(-max(picture.size) // _WORKING_SIDE))
    found = _look(np.asarray(reduced), _size(image))
    if isinstance(found, ImageError):
        return found
    scale = _size(image)[0] / reduced.width
    if max(found.box[2] - found.box[0], found.box[3] - found.box[1]) >= _CLOSER * scale:
        return found
    return _closer(picture, found) or found


def _closer(picture: Image.Image, found: Trace) -> Trace | None:
    """Look again at the part of `picture` in which `found` is, in full; None: there is nothing to see."""
    scale = found.size[0] / picture.width
    left, top, right, bottom = (side / scale for side in found.box)
    around = 0.4 * max(right - left, bottom - top)
    part = picture.crop(
        (
            max(int(left - around), 0),
            max(int(top - around), 0),
            min(round(right + around) + 1, picture.width),
            min(round(bottom + around) + 1, picture.height),
        )
    )
    seen = _look(np.asarray(part), part.size)
    if isinstance(seen, ImageError):
        return None
    return replace(seen, size=found.size, box=found.box, lines=found.lines or seen.lines, specks=found.specks)


def _look(grey: NDArray[np.uint8], size: tuple[int, int]) -> Trace | ImageError:
    """Find the digit in `grey`, uint8 [h, w], which was `size` (width and height) before it was reduced."""
    found = ink.find(grey)
    if found is None:
        return ImageError(ErrorKind.BLANK, "it is of one colour, or nearly: there is nothing to read")
    if (sheet := _sheet(found.amount)) and (within := _within(grey, size, sheet, found.dark)):
        return within
    cleared = clutter.clear(found.amount)
    if cleared is None:
        return ImageError(ErrorKind.BLANK, "it holds a frame, or lines, and nothing within: there is nothing to read")
    inked = cleared.ink > clutter.INKED
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    x, y = size[0] / grey.shape[1], size[1] / grey.shape[0]
    return Trace(
        form.place(cleared.ink, box),
        size,
        _scaled(box, x, y, size),
        dark=found.dark,
        paper=found.paper,
        flattened=found.flattened,
        lines=cleared.lines,
        specks=cleared.specks,
    )


def _sheet(amount: NDArray[np.float32]) -> Box | None:
    """A sheet of paper that was taken for ink, on a ground of another colour: where it lies, without its margin."""
    inked = amount > clutter.INKED
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if min(len(rows), len(columns)) < SIDE:
        return None
    left, top, right, bottom = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    sheet = inked[top:bottom, left:right]
    if sheet.mean() < _SHEET or not clutter.has_corners(sheet):
        return None
    margin = round(_MARGIN * max(bottom - top, right - left))
    if min(bottom - top, right - left) < 2 * margin + SIDE // 2:
        return None
    return left + margin, top + margin, right - margin, bottom - margin


def _within(grey: NDArray[np.uint8], size: tuple[int, int], sheet: Box, dark: bool) -> Trace | None:
    """The digit on a sheet in the picture, if there is one of the other polarity."""
    left, top, right, bottom = sheet
    seen = _look(grey[top:bottom, left:right], (right - left, bottom - top))
    if isinstance(seen, ImageError) or seen.dark == dark:
        return None
    x, y = size[0] / grey.shape[1], size[1] / grey.shape[0]
    box = seen.box[0] + left, seen.box[1] + top, seen.box[2] + left, seen.box[3] + top
    return replace(seen, size=size, box=_scaled(box, x, y, size))


def _scaled(box: Box, x: float, y: float, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return int(left * x), int(top * y), min(round(right * x), size[0]), min(round(bottom * y), size[1])
