"""Any Pillow image → an opaque one in grey or RGB, 8 bits a channel, on a background of one grey level."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

_BAND = 1_000_000  # pixels that are converted at once


def convert(image: Image.Image, mode: str, background: int) -> Image.Image:
    """Convert an image to grey or RGB, without transparency.

    Args:
        image: In any of Pillow's modes.
        mode: "L" or "RGB", the mode of the result.
        background: The grey level, 0…255, behind transparent pixels.
    """
    if image.mode == mode and not image.has_transparency_data:
        return image
    range_ = _range(image) if image.mode.startswith(("I", "F")) else None
    converted = Image.new(mode, image.size)
    # In bands, to save memory: the steps of a conversion take up to 8 bytes a pixel, several times over.
    for box in _bands(image):
        band = image.crop(box)
        converted.paste(
            _flatten(band if range_ is None else _eight_bits(band, range_, background), mode, background), box
        )
    return converted


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes of about `_BAND` pixels, of the image's full width, that cover the image."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _flatten(image: Image.Image, mode: str, background: int) -> Image.Image:
    if image.mode == "LAB":
        image = _from_lab(image)
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        # Pillow converts every mode with transparency to "RGBA", also palettes and single transparent colours.
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (background, background, background, 255))
        image = Image.alpha_composite(paper, image).convert("RGB")
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image.convert(mode)


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # only with inPlace=True
    return converted


def _eight_bits(image: Image.Image, range_: tuple[float, float], background: int) -> Image.Image:
    """Return a grey image of 16-bit integers (any byte order), 32-bit integers or floats in mode "L"."""
    values = np.asarray(image)  # [H, W]; uint16 in either byte order, int32 or float32
    low, high = range_
    with np.errstate(invalid="ignore"):
        scaled = np.clip((values.astype(np.float64) - low) / (high - low) * 255.0, 0.0, 255.0)
    grey = np.rint(np.nan_to_num(scaled)).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = background
    return Image.fromarray(grey)


def _range(image: Image.Image) -> tuple[float, float]:
    """Return the values of black and white in a grey image: by its format, or else by a guess from its values."""
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        return 0.0, 65535.0 if image.mode != "F" else 1.0
    low, high = _extrema(image)
    if low >= 0.0:
        # The narrowest usual range that holds every value: floats of 0 to 1, bytes, 16-bit words.
        usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        for white in usual:
            if high <= white:
                return 0.0, white
    return low, high if high > low else low + 1.0


def _extrema(image: Image.Image) -> tuple[float, float]:
    """Return the smallest and the largest finite value in the image; 0 and 0 if there is none."""
    lows, highs = [], []
    for box in _bands(image):
        values = np.asarray(image.crop(box))  # [h, W]; int32 or float32
        known = values[np.isfinite(values)]
        if known.size:
            lows.append(float(known.min()))
            highs.append(float(known.max()))
    return min(lows, default=0.0), max(highs, default=0.0)
