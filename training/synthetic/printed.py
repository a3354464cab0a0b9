"""Printed digits: the search for fonts, and the shapes of their digits."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pigeonhole.errors import DatasetError
from training.synthetic.raster import Digits, Ink, Rng

FOLDER = Path("/usr/share/fonts")  # the folder of Debian's packages

_SIDE = 56  # pixels of a shape
_SIZE = 64  # pixels per em, before a digit is cropped and reduced
_SUFFIXES = (".ttf", ".otf")
# Fonts of symbols and of mathematics, whose digits are unusual.
_SYMBOLS = ("symbol", "dingbat", "d050000l", "icon", "emoji", "awesome", "math", "music", "braille", "wingding")


def find_fonts(folder: str | os.PathLike[str] = FOLDER) -> tuple[Path, ...]:
    """Return the fonts below a folder that have ten digits, sorted by path; none if the folder does not exist."""
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
    usual = [path for path in found if not any(word in path.name.lower() for word in _SYMBOLS)]
    return tuple(path for path in usual if _has_digits(path))


def _has_digits(path: Path) -> bool:
    """Return whether a font draws ten different digits, none of them as the box for a missing character."""
    try:
        font = ImageFont.truetype(path, 32)
        drawn = {_text(font, text).tobytes() for text in "0123456789"}
        return len(drawn) == 10 and _text(font, "\uffff").tobytes() not in drawn
    except OSError:  # damaged, or a format that FreeType doesn't read
        return False


def _text(font: ImageFont.FreeTypeFont, text: str) -> Image.Image:
    image = Image.new("L", (2 * round(font.size), 2 * round(font.size)))
    ImageDraw.Draw(image).text((font.size // 2, font.size // 4), text, fill=255, font=font)
    return image


@cache
def shapes(fonts: tuple[Path, ...]) -> Ink:
    """Return the ten digits of the first font, of the second, and so on: float32 [10 x fonts, 56, 56].

    Raises:
        DatasetError: A font can't be read.
    """
    return np.stack([_shape(path, str(digit)) for path in fonts for digit in range(10)])


def _shape(path: Path, text: str) -> Ink:
    try:
        image = _text(ImageFont.truetype(path, _SIZE), text)
    except OSError as exc:
        raise DatasetError(f"The font {path} can't be read ({exc}); leave it out.") from exc
    box = image.getbbox()
    if box is None:
        raise DatasetError(f"The font {path} has no digit {text}; leave it out.")
    crop = image.crop(box)
    factor = (_SIDE - 6) / max(crop.size)
    crop = crop.resize(
        (max(1, round(crop.width * factor)), max(1, round(crop.height * factor))), Image.Resampling.BILINEAR
    )
    frame = Image.new("L", (_SIDE, _SIDE))
    frame.paste(crop, ((_SIDE - crop.width) // 2, (_SIDE - crop.height) // 2))
    return (np.asarray(frame) / np.float32(255.0)).astype(np.float32)


def sample(fonts: Sequence[Path], count: int, rng: Rng) -> Digits:
    """Draw `count` random digits, each in a random font."""
    chosen = rng.integers(0, 10 * len(fonts), count)
    return Digits(shapes(tuple(fonts))[chosen], chosen % 10)
