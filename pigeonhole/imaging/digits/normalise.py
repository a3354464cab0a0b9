"""Any picture of one digit → the form of MNIST's images (`pigeonhole.imaging.digits.form`)."""

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

_WORKING_SIDE = 384  # pixels; a larger picture is reduced first
_SMALL_DIGIT = 2 * form.BOX  # pixels; a smaller digit is found again, in the full resolution
_SHEET = 0.72  # smallest share of its box that a sheet of paper covers; hardly any digit does
_BLANK = np.zeros((SIDE, SIDE), np.uint8)  # stands for an image of another size; it does not have MNIST's form
_MARGIN = 0.08  # share of a sheet's longer side that is cut off, because the sheet may be askew


@dataclass(frozen=True)
class Trace:
    """The result of a normalisation, and a record of its steps.

    Args:
        pixels: uint8 [28, 28], the result: bright ink on 0.
        size: The picture's width and height, in pixels.
        box: The part of the picture that contains the digit.
        unchanged: Whether the picture already had MNIST's form.
        dark: Whether the ink is darker than the paper, so that the picture was inverted.
        paper: The paper's grey level, 0…255. If it was uneven: of its brightest part, or darkest for bright ink.
        flattened: Whether the paper was uneven because of shadow or fog, and was flattened.
        lines: Whether lines around the digit were removed: a frame, a grid, ruled paper.
        specks: The number of other things around the digit that were removed.
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
    """Bring one digit into MNIST's form; an image in that form stays unchanged.

    Args:
        image: Mode "L" or uint8 [h, w], of at least 1 x 1 pixel, ink darker or brighter than the paper.

    Returns:
        uint8 [28, 28], bright ink on 0.

    Raises:
        ImageError: The image has no contrast, or only noise; the kind is `blank`.
    """
    return trace(image).pixels


def trace(image: Decoded) -> Trace:
    """Return the result of `normalise`, with a record of its steps."""
    (short,), (done,) = _already_normal([image])
    if done:
        same = np.array_equal(short, np.asarray(image))
        return Trace(short, (SIDE, SIDE), (0, 0, SIDE, SIDE), unchanged=same, dark=not same, paper=0 if same else 255)
    found = _traced(image)
    if isinstance(found, ImageError):
        raise found
    return found


def normalise_all(images: Sequence[Decoded]) -> tuple[NDArray[np.uint8], dict[int, ImageError]]:
    """Normalise many images. Images in MNIST's form, also inverted, take about 3 µs each.

    Returns:
        uint8 [n, 28, 28], the results of `normalise` for all images without an error, in order; and the position of
        each other image → its error.
    """
    pixels, done = _already_normal(images)
    errors = {}
    for at in np.flatnonzero(~done).tolist():
        found = _traced(images[at])
        if isinstance(found, ImageError):
            errors[at] = found
        else:
            pixels[at] = found.pixels
    return np.delete(pixels, list(errors), axis=0) if errors else pixels, errors


def _already_normal(images: Sequence[Decoded]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the pixels of N images, uint8 [N, 28, 28], and which of them have MNIST's form, bool [N].

    Images that have it inverted are inverted. Images of another size are blank here.
    """
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


def _traced(image: Decoded) -> Trace | ImageError:
    if max(_size(image)) <= _WORKING_SIDE:
        return _find(np.asarray(image), _size(image))
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if (factor := -(-max(picture.size) // FINEST_SIDE)) > 1:  # rounded up
        picture = picture.reduce(factor)
    reduced = picture.reduce(-(-max(picture.size) // _WORKING_SIDE))
    found = _find(np.asarray(reduced), _size(image))
    if isinstance(found, ImageError):
        return found
    scale = _size(image)[0] / reduced.width
    if max(found.box[2] - found.box[0], found.box[3] - found.box[1]) >= _SMALL_DIGIT * scale:
        return found
    return _refined(picture, found) or found


def _refined(picture: Image.Image, found: Trace) -> Trace | None:
    """Find the digit again in the full resolution of `picture`, around the box of `found`; None: it is blank."""
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
    inner = _find(np.asarray(part), part.size)
    if isinstance(inner, ImageError):
        return None
    return replace(inner, size=found.size, box=found.box, lines=found.lines or inner.lines, specks=found.specks)


def _find(grey: NDArray[np.uint8], size: tuple[int, int]) -> Trace | ImageError:
    """Find and normalise the digit in a picture.

    Args:
        grey: uint8 [h, w], the picture, which may be reduced.
        size: Width and height before it was reduced, in pixels.
    """
    found = ink.find(grey)
    if found is None:
        return ImageError(ErrorKind.BLANK, "it has nearly one colour: there is no digit to read")
    if (sheet := _sheet(found.amount)) and (within := _on_sheet(grey, size, sheet, found.dark)):
        return within
    cleared = clutter.clear(found.amount)
    if cleared is None:
        return ImageError(ErrorKind.BLANK, "it has only a frame or lines: there is no digit to read")
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
    """Return the box, without a margin, of a sheet of paper that was taken for ink; None: there is no such sheet."""
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


def _on_sheet(grey: NDArray[np.uint8], size: tuple[int, int], sheet: Box, dark: bool) -> Trace | None:
    """Return the digit on a sheet of paper in the picture; None: the sheet has no ink of the opposite polarity."""
    left, top, right, bottom = sheet
    inner = _find(grey[top:bottom, left:right], (right - left, bottom - top))
    if isinstance(inner, ImageError) or inner.dark == dark:
        return None
    x, y = size[0] / grey.shape[1], size[1] / grey.shape[0]
    box = inner.box[0] + left, inner.box[1] + top, inner.box[2] + left, inner.box[3] + top
    return replace(inner, size=size, box=_scaled(box, x, y, size))


def _scaled(box: Box, x: float, y: float, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return int(left * x), int(top * y), min(round(right * x), size[0]), min(round(bottom * y), size[1])
