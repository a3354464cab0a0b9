"""Draw a contact sheet of the synthetic training data: one row per kind, after preprocessing.

python -m scripts.synthetic_sheet --data DIR -o synthetic.png; DIR contains MNIST/raw, whose training images are used.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pigeonhole.imaging.preprocessing import Preprocessing
from scripts.make_samples import read_idx
from training.synthetic.chunks import Chunk, Maker
from training.synthetic.kinds import KINDS, PRINTED
from training.synthetic.printed import find_fonts
from training.synthetic.raster import SIDE

NAME = 96  # pixels, the width of the column with the kinds' names
GAP = 2


def sheet(maker: Maker, kinds: list[int], columns: int, rows: int, seed: int, raw: bool) -> Image.Image:
    """Draw rows of pictures for each kind, with the kind's name on the left; two kinds are side by side."""
    step = (2 if raw else 1) * SIDE + GAP
    width, height = NAME + columns * step + GAP, rows * step + GAP
    page = Image.new("L", (2 * width, -(-len(kinds) // 2) * height), 64)
    draw = ImageDraw.Draw(page)
    for place, kind in enumerate(kinds):
        left, top = place % 2 * width, place // 2 * height
        draw.text((left + 4, top + 8), KINDS[kind].name, fill=255)
        for at, picture in enumerate(_pictures(maker, kind, columns * rows, seed, raw)):
            tile = Image.fromarray(picture)
            if raw:
                tile.thumbnail((2 * SIDE, 2 * SIDE))
            page.paste(tile, (left + NAME + at % columns * step, top + GAP + at // columns * step))
    return page


def _pictures(maker: Maker, kind: int, count: int, seed: int, raw: bool) -> list[NDArray[np.uint8]]:
    if not raw:
        return list(maker.make(Chunk(seed, kind, kind, count))[0][..., 0])
    rng = np.random.default_rng([seed, kind])
    return list(KINDS[kind].draw(maker.sample(kind, count, rng), rng))


def main() -> None:
    """Write the contact sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/mnist"), help="the folder that contains MNIST/raw")
    parser.add_argument("-o", "--output", type=Path, default=Path("synthetic.png"))
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--rows", type=int, default=1, help="rows of each kind")
    parser.add_argument("--kind", action="append", help="draw only the kind of this name; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--raw", action="store_true", help="draw the pictures without preprocessing")
    arguments = parser.parse_args()
    source = arguments.data / "MNIST" / "raw"
    images, labels = (read_idx(source / f"train-{what}-ubyte") for what in ("images-idx3", "labels-idx1"))
    fonts = find_fonts()
    maker = Maker(images, labels.astype(np.int64), 10, Preprocessing("digit", SIDE, SIDE, 1), fonts)
    kinds = [
        at
        for at, kind in enumerate(KINDS)
        if (not arguments.kind or kind.name in arguments.kind) and (fonts or kind.source != PRINTED)
    ]
    page = sheet(maker, kinds, arguments.columns, arguments.rows, arguments.seed, arguments.raw)
    page.save(arguments.output, optimize=True)
    print(f"{len(kinds)} kinds, {len(fonts)} fonts: {arguments.output}")


if __name__ == "__main__":
    main()
