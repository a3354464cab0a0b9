"""Write images that are not digits, in a folder for each kind: python -m scripts.outlier_kinds DIR --mnist DATA.

These out-of-distribution images are for `pigeonhole evaluate CHECKPOINT --dataset outliers --data DIR`, not for
training. The same seed, fonts, photographs and MNIST always result in the same files. A kind whose sources are missing
is skipped with a message.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib import get_data_path
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from scripts.make_samples import read_idx

COUNT = 300
HELD_OUT = 3_000  # the number of MNIST's last training images, which the kind "two-digits" uses
#: Letters that do not look like a digit in print or handwriting, unlike O, I, l, S, Z, B and g.
LETTERS = "AEFHKMNRWXhkmwx"
#: Most of these letters as strokes of a pen: points in a box of 1 x 1, y downwards. Each stroke becomes a smooth curve.
STROKES = {
    "A": (((0.0, 1.0), (0.5, 0.0), (1.0, 1.0)), ((0.2, 0.6), (0.8, 0.6))),
    "E": (((0.9, 0.0), (0.0, 0.0), (0.0, 1.0), (0.9, 1.0)), ((0.0, 0.5), (0.7, 0.5))),
    "F": (((0.9, 0.0), (0.0, 0.0), (0.0, 1.0)), ((0.0, 0.5), (0.7, 0.5))),
    "H": (((0.0, 0.0), (0.0, 1.0)), ((0.9, 0.0), (0.9, 1.0)), ((0.0, 0.5), (0.9, 0.5))),
    "K": (((0.0, 0.0), (0.0, 1.0)), ((0.8, 0.0), (0.0, 0.55), (0.9, 1.0))),
    "M": (((0.0, 1.0), (0.1, 0.0), (0.5, 0.7), (0.9, 0.0), (1.0, 1.0)),),
    "N": (((0.0, 1.0), (0.0, 0.0), (0.9, 1.0), (0.9, 0.0)),),
    "R": (((0.0, 1.0), (0.0, 0.0), (0.6, 0.0), (0.8, 0.25), (0.6, 0.5), (0.0, 0.5)), ((0.3, 0.5), (0.9, 1.0))),
    "W": (((0.0, 0.0), (0.25, 1.0), (0.5, 0.3), (0.75, 1.0), (1.0, 0.0)),),
    "X": (((0.0, 0.0), (0.9, 1.0)), ((0.9, 0.0), (0.0, 1.0))),
    "h": (((0.0, 0.0), (0.0, 1.0)), ((0.0, 0.65), (0.3, 0.45), (0.6, 0.6), (0.6, 1.0))),
    "k": (((0.0, 0.0), (0.0, 1.0)), ((0.5, 0.4), (0.0, 0.7), (0.6, 1.0))),
    "m": (((0.0, 1.0), (0.0, 0.5), (0.25, 0.5), (0.4, 1.0), (0.45, 0.55), (0.7, 0.5), (0.85, 1.0)),),
    "w": (((0.0, 0.45), (0.2, 1.0), (0.45, 0.55), (0.7, 1.0), (0.9, 0.45)),),
}
#: Silhouettes of clothes: points in a box of 1 x 1, y downwards; each point is moved a little at random.
CLOTHES = {
    "t-shirt": "0.3,0 0.7,0 1,0.2 0.88,0.4 0.75,0.32 0.75,1 0.25,1 0.25,0.32 0.12,0.4 0,0.2",
    "pullover": "0.33,0 0.67,0 0.9,0.15 1,0.9 0.85,0.92 0.75,0.4 0.75,1 0.25,1 0.25,0.4 0.15,0.92 0,0.9 0.1,0.15",
    "trousers": "0.27,0 0.73,0 0.8,1 0.56,1 0.5,0.3 0.44,1 0.2,1",
    "dress": "0.38,0 0.43,0.1 0.57,0.1 0.62,0 0.66,0.35 0.85,1 0.15,1 0.34,0.35",
    "shoe": "0,0.45 0.15,0.4 0.45,0.55 0.75,0.62 1,0.72 1,0.85 0,0.85",
    "boot": "0.25,0 0.6,0 0.6,0.55 0.95,0.75 1,1 0.2,1",
    "bag": "0,0.35 0.25,0.35 0.3,0.05 0.7,0.05 0.75,0.35 1,0.35 0.95,1 0.05,1",
    "skirt": "0.3,0.1 0.7,0.1 0.95,0.95 0.05,0.95",
}

T = TypeVar("T")
Generator = np.random.Generator
Grey = NDArray[np.uint8]


def main() -> None:
    """Write a folder of images for each kind."""
    parser = argparse.ArgumentParser(prog="scripts.outlier_kinds", description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path, help="the folder to write")
    parser.add_argument("--mnist", type=Path, help="the folder that contains MNIST/raw, for two digits side by side")
    parser.add_argument("--fonts", type=Path, nargs="*", default=[Path("/usr/share/fonts")], help="folders of fonts")
    parser.add_argument("--hands", type=Path, help="a folder of photographs of hand signs")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of photographs, or files")
    parser.add_argument("--count", type=int, default=COUNT, help=f"images of each kind [{COUNT}]")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    fonts, hands = _fonts(given.fonts), _files([given.hands] if given.hands else [])
    # matplotlib contains one photograph.
    photos = [
        _opened(path) for path in [Path(get_data_path(), "sample_data", "grace_hopper.jpg"), *_files(given.photos)]
    ]
    digits = read_idx(given.mnist / "MNIST" / "raw" / "train-images-idx3-ubyte")[-HELD_OUT:] if given.mnist else None
    kinds: dict[str, Callable[[Generator], Image.Image] | None] = {
        "letters-of-fonts": (lambda rng: printed(rng, fonts)) if fonts else None,
        "letters-of-strokes": written,
        "hand-signs": (lambda rng: hand_sign(rng, hands)) if hands else None,
        "clothes": clothes,
        "noise-uniform": lambda rng: noise(rng, lambda shape: rng.uniform(0, 255, shape)),
        "noise-gaussian": lambda rng: noise(rng, lambda shape: rng.normal(128, rng.uniform(20, 90), shape)),
        "two-digits": (lambda rng: two_digits(rng, digits)) if digits is not None else None,
        "photographs": lambda rng: crop(rng, photos),
    }
    for number, (kind, draw) in enumerate(kinds.items()):
        if draw is None:
            print(f"{kind}: skipped, because its sources are missing; see --help")
            continue
        folder = given.output / kind
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(given.count):
            draw(np.random.default_rng([given.seed, number, index])).save(folder / f"{index:04}.png")
        print(f"{kind}: {given.count} files in {folder}")


def printed(rng: Generator, fonts: Sequence[Path]) -> Image.Image:
    """Draw a letter of a random font, slanted and turned a little, sometimes with a thicker pen."""
    side = _side(rng)
    font = ImageFont.truetype(str(_one(rng, fonts)), 160)
    ink = Image.new("L", (320, 320))
    pen = int(rng.integers(0, 6)) if rng.random() < 0.5 else 0
    ImageDraw.Draw(ink).text(
        (160, 160), str(rng.choice([*LETTERS])), fill=255, font=font, anchor="mm", stroke_width=pen
    )
    return _on_paper(rng, _bent(rng, ink), side)


def written(rng: Generator) -> Image.Image:
    """Draw a letter of a few strokes: each point moved a little, corners rounded, with a thin or thick pen."""
    ink = Image.new("L", (320, 320))
    draw = ImageDraw.Draw(ink)
    pen, width, height = int(rng.integers(8, 30)), rng.uniform(90, 180), rng.uniform(150, 200)
    for stroke in STROKES[str(rng.choice([*STROKES]))]:
        points = (np.array(stroke) - 0.5 + rng.normal(0, 0.035, (len(stroke), 2))) * (width, height) + 160
        line = _rounded(points)
        draw.line([tuple(point) for point in line], 255, pen, joint="curve")
        for x, y in (line[0], line[-1]):
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 255)
    return _on_paper(rng, _bent(rng, ink), _side(rng))


def hand_sign(rng: Generator, files: Sequence[Path]) -> Image.Image:
    """Draw a photograph of a hand at a random size, in colour or grey."""
    image = _opened(_one(rng, files))
    side = int(rng.integers(28, 101))
    image = image.resize((side, side), Image.Resampling.LANCZOS)
    return image if rng.random() < 0.5 else image.convert("L")


def clothes(rng: Generator) -> Image.Image:
    """Draw a piece of clothing as in a catalogue: bright cloth with folds and a pattern, on black, mostly 28 x 28."""
    side = 168
    shape = CLOTHES[str(rng.choice([*CLOTHES]))]
    points = np.array([[float(part) for part in point.split(",")] for point in shape.split()])
    size = rng.uniform((0.6, 0.8), (1.0, 1.0)) * (side - 12)
    points = (points - 0.5 + rng.normal(0, 0.02, points.shape)) * size + side / 2
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).polygon([tuple(point) for point in points], 255)
    y, x = np.mgrid[0:side, 0:side] / side
    cloth = rng.uniform(0.45, 1.0) + rng.uniform(-0.3, 0.3) * (x - 0.5) + rng.uniform(-0.2, 0.2) * (y - 0.5)
    cloth = cloth + 0.12 * _smooth(rng, side, int(rng.integers(3, 8)))  # folds
    pattern = rng.integers(4)
    waves = 2 * np.pi * rng.uniform(4, 10)
    if pattern in (1, 3):
        cloth = cloth + rng.uniform(0.1, 0.35) * np.sign(np.sin(waves * y))
    if pattern in (2, 3):
        cloth = cloth + rng.uniform(0.1, 0.35) * np.sign(np.sin(waves * x))
    cloth = cloth + rng.normal(0, rng.uniform(0.01, 0.08), cloth.shape)
    cloth[np.array(mask) == 0] = 0
    end = int(rng.choice([28, 28, 28, 56, 112]))
    return Image.fromarray(_bytes(255 * cloth)).resize((end, end), Image.Resampling.BOX)


def noise(rng: Generator, draw: Callable[[tuple[int, int]], NDArray[np.float64]]) -> Image.Image:
    """Draw noise in cells of 1 to 8 pixels, sharp or smooth."""
    side, cell = int(rng.integers(28, 201)), int(2 ** rng.integers(0, 4))
    cells = -(-side // cell)  # rounded up
    way = Image.Resampling.BICUBIC if rng.random() < 0.5 else Image.Resampling.NEAREST
    coarse = Image.fromarray(_bytes(draw((cells, cells))))
    return coarse.resize((cells * cell, cells * cell), way).crop((0, 0, side, side))


def two_digits(rng: Generator, digits: Grey) -> Image.Image:
    """Draw two handwritten digits side by side, apart or touching, at a random scale, on black or on white."""
    left, right = (_ink_box(digits[index]) for index in rng.integers(len(digits), size=2))
    gap, margin = int(rng.integers(0, 7)), int(rng.integers(3, 9))
    width, height = left.shape[1] + gap + right.shape[1], max(len(left), len(right)) + 3
    canvas = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    for part, x in ((left, margin), (right, margin + left.shape[1] + gap)):
        y = margin + int(rng.integers(0, height - len(part) + 1))
        canvas[y : y + len(part), x : x + part.shape[1]] = part
    image = Image.fromarray(canvas)
    scale = rng.uniform(1, 6)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    return image if rng.random() < 0.5 else ImageOps.invert(image)


def crop(rng: Generator, photos: Sequence[Image.Image]) -> Image.Image:
    """Draw a square part of a photograph, 30% to 95% of its shorter side, in colour or grey."""
    photo = _one(rng, photos)
    side = round(min(photo.size) * rng.uniform(0.3, 0.95))
    x, y = (int(rng.integers(0, length - side + 1)) for length in photo.size)
    part = photo.crop((x, y, x + side, y + side))
    part.thumbnail((int(rng.integers(28, 401)),) * 2, Image.Resampling.LANCZOS)
    return part if rng.random() < 0.5 else part.convert("L")


def _one(rng: Generator, some: Sequence[T]) -> T:
    return some[int(rng.integers(len(some)))]


def _side(rng: Generator) -> int:
    return int(np.exp(rng.uniform(np.log(28), np.log(400))))


def _bent(rng: Generator, ink: Image.Image) -> Image.Image:
    """Return ink that is slanted by up to 17 degrees, made narrower or wider, and turned by up to 12 degrees."""
    slant, wide, middle = rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.25), ink.width / 2
    affine = (wide, slant, middle - wide * middle - slant * middle, 0, 1, 0)
    bent = ink.transform(ink.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return bent.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC)


def _on_paper(rng: Generator, ink: Image.Image, side: int) -> Image.Image:
    """Draw ink (mode "L", 0 for none) on a square of `side` pixels: dark ink on bright paper, or the reverse."""
    box = ink.getbbox() or (0, 0, *ink.size)
    room = round(max(box[2] - box[0], box[3] - box[1]) * rng.uniform(1.1, 2.0))
    canvas = Image.new("L", (room, room))
    place = [round((room - (box[2 + axis] - box[axis])) * rng.uniform(0.2, 0.8)) for axis in (0, 1)]
    canvas.paste(ink.crop(box), (place[0], place[1]))
    canvas = canvas.resize((side, side), Image.Resampling.BOX if side < room else Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.02 * side)))
    share = np.asarray(canvas, np.float64) / 255  # [side, side]
    dark, bright = rng.uniform(0, 70), rng.uniform(190, 255)
    paper, pen = (bright, dark) if rng.random() < 0.6 else (0.0, bright)
    grain = rng.normal(0, rng.choice([0.0, 3.0]), share.shape)
    return Image.fromarray(_bytes(paper + (pen - paper) * share + grain))


def _rounded(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a line with its corners cut twice (G. Chaikin, 1974): float64 [n, 2] → [m, 2]."""
    for _ in range(2):
        if len(points) > 2:
            first, second = points[:-1], points[1:]
            cut = np.stack([0.8 * first + 0.2 * second, 0.2 * first + 0.8 * second], axis=1).reshape(-1, 2)
            points = np.concatenate([points[:1], cut[1:-1], points[-1:]])
    return points


def _smooth(rng: Generator, side: int, cells: int) -> NDArray[np.float64]:
    """Return smooth noise of about -1 to 1: float64 [side, side]."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float64)


def _ink_box(digit: Grey) -> Grey:
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _bytes(values: NDArray[np.float64]) -> Grey:
    pixels: Grey = np.rint(values.clip(0, 255)).astype(np.uint8)
    return pixels


def _fonts(folders: Sequence[Path]) -> list[Path]:
    """Return the fonts in these folders that have all of `LETTERS`."""
    found = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in (".ttf", ".otf"))
    return [path for path in found if {*map(ord, LETTERS)} <= {*FT2Font(str(path)).get_charmap()}]


def _files(places: Sequence[Path]) -> list[Path]:
    """Return the JPEG files among these paths, and in these folders."""
    return sorted(
        path
        for place in places
        for path in ([place] if place.is_file() else place.rglob("*"))
        if path.suffix.lower() in (".jpg", ".jpeg")
    )


def _opened(path: Path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


if __name__ == "__main__":
    main()
