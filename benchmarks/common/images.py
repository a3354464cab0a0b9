"""The image files of a run: written once into a folder, and hard-linked to the needed number of names."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common.machine import ROOT
from benchmarks.common.measure import Images
from scripts.make_samples import read_idx

PER_FOLDER = 1_000
#: Width and height of large photos, and the number of different ones.
PHOTO_SIZE, PHOTOS = (4000, 3000), 40
#: The same for photos of ImageNet's usual size.
SMALL_PHOTO_SIZE, SMALL_PHOTOS = (500, 375), 200


def digits(folder: Path, data: Path) -> list[Path]:
    """Write MNIST's 10,000 test images as PNG files; without the data set, return the shipped samples.

    Args:
        folder: the folder to write.
        data: the folder that contains MNIST/raw.
    """
    test_set = data / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    if not test_set.is_file():
        return samples()
    folder.mkdir()
    files = []
    for number, pixels in enumerate(read_idx(test_set)):
        files.append(folder / f"{number:05}.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def samples() -> list[Path]:
    """Return the shipped digits, without the three files that become error rows."""
    lines = (ROOT / "samples-labels.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [ROOT / line.partition(",")[0] for line in lines]


def photos(folder: Path, size: tuple[int, int] = PHOTO_SIZE, count: int = PHOTOS) -> list[Path]:
    """Draw photos with texture at every scale and grain, which compress like a camera's photos: 1/3 byte per pixel.

    Each photo is another part of one larger picture.
    """
    folder.mkdir()
    rng = np.random.default_rng(5)
    width, height = (side + count * 10 for side in size)
    picture = rng.normal(0, 6, (height, width, 3)).astype(np.float32)
    for cells, strength in ((5, 60), (40, 30), (320, 15)):
        texture = rng.normal(0, strength, (cells * 3 // 4, cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(texture[:, :, channel]).resize((width, height), Image.Resampling.BILINEAR)
            picture[:, :, channel] += np.asarray(layer)
    whole = Image.fromarray((picture + 127).clip(0, 255).astype(np.uint8))
    files = [folder / f"{number:03}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        left = top = number * 10
        whole.crop((left, top, left + size[0], top + size[1])).save(file, quality=90)
    return files


def link(folder: Path, files: Sequence[Path], count: int, per_folder: int = PER_FOLDER) -> Images:
    """Create `count` hard links to a few files, in folders of `per_folder` links each."""
    paths = []
    for number in range(count):
        album = folder / f"{number // per_folder:04}"
        if number % per_folder == 0:
            album.mkdir(parents=True)
        file = files[number % len(files)]
        path = album / f"{number:07}{file.suffix}"
        try:
            os.link(file, path)
        except OSError:  # another file system
            shutil.copyfile(file, path)
        paths.append(str(path))
    return Images(str(folder), tuple(paths))
