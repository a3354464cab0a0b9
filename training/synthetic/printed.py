"""Digits from fonts: which files have them, and their shapes."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pigeonhole.errors import DatasetError
from training.synthetic.raster import Digits, Ink, Rng

FOLDER = Path("/usr/share/fonts")  # where Debian's packages put them

_SIDE = 56  # pixels, of a shape
_SIZE = 64  # pixels to the em, before it is cut and reduced
_SUFFIXES = (".ttf", ".otf")
# Fonts of pictures, of mathematics and of other alphabets, whose digits are no people's usual ones.
_SYMBOLS = ("symbol", "dingbat", "d050000l", "icon", "emoji", "awesome", "math", "music", "braille", "wingding")


def find_fonts(folder: str | os.PathLike[str] = FOLDER) -> tuple[Path, ...]:
    """The fonts below a folder that have ten digits, in the order of their paths; none where it isn't there."""
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
    usual = [path for path in found if not any(word in path.name.lower() for word in _SYMBOLS)]
    return tuple(path for path in usual if _has_digits(path))


def _has_digits(path: Path) -> bool:
    """Whether the font draws ten digits, each with a shape of its own and none as the box for what is missing."""
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
    """float32 [10 x fonts, 56, 56]: the ten digits of the first font, of the second, …

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
    """`count` digits, each from a font of its own choice."""
    chosen = rng.integers(0, 10 * len(fonts), count)
    return Digits(shapes(tuple(fonts))[chosen], chosen % 10)
