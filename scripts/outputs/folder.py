"""Prepare a user's folder with everything that the README and the guide name."""

import csv
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
#: Folder for the images of each page, relative to the temporary folder: the pages show this path.
FOLDER = "srv/photos"
#: Real data, beside the checkout: the photos of hand signs, and MNIST.
HANDS = ROOT.parent / "shared" / "photos" / "sign-language-digits"
MNIST = ROOT.parent / "shared" / "mnist"
#: Photos of each class that are copied to the folder `photos`.
PHOTOS = 5
#: Stands for `pigeonhole`. An error row is no failure. Only trainings of which a page shows results are complete.
_PROGRAM = """#!/bin/sh
case $1 in
    train) case "$*" in *--resume*) ;; *) set -- "$@" --overwrite ;; esac
        case "$*" in {complete}) ;; *) set -- "$@" --epochs 1 ;; esac
        exec {program} "$@" --device cpu ;;
    worker) exec {program} "$@" ;;
esac
{program} "$@"
code=$?
[ $code = 3 ] || exit $code
"""


def prepare(root: Path, real: bool) -> Path:
    """Create a user's folder, and the programs that stand for `pigeonhole` and for a person with a report.

    Args:
        root: Empty folder; the programs are in its folder `bin`.
        real: Use the real data beside the checkout, and train `hands` and its successors completely. Otherwise the
            photos are noise, and every training takes one epoch.

    Returns:
        The user's folder, `root / FOLDER`.
    """
    _write_programs(root / "bin", real)
    folder = root / FOLDER
    shutil.copytree(ROOT / "samples", folder / "samples")
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    shutil.copy(ROOT / "samples-labels.csv", folder)
    noise = {"more-photos": 10, "labelled": 10, "new-photos": 5}
    if real:
        (folder / "Dataset").symlink_to(HANDS)
        (folder / "mnist").symlink_to(MNIST)
        for photos in (path for path in HANDS.iterdir() if path.is_dir()):
            (folder / "photos" / photos.name).mkdir(parents=True)
            for photo in sorted(photos.iterdir())[:PHOTOS]:
                shutil.copy(photo, folder / "photos" / photos.name)
    else:
        noise |= {"photos": 10, "Dataset": 120}
        _copy_samples(folder, "mnist")
    for name, number in noise.items():
        for label in ("0", "1"):
            _write_noise(folder / name / label, number)
    _copy_samples(folder, "outliers")
    _write_photo(folder / "photo.jpg")
    shutil.copy(ROOT / "samples" / "003b50.png", folder / "image.png")
    corrected = sorted((folder / "photos" / "0").iterdir())[:3]
    lines = [f"{photo.relative_to(folder)},1,0,0.5\n" for photo in corrected]
    (folder / "corrections.csv").write_text("path,label,was,confidence\n" + "".join(lines))
    (folder / "list.txt").write_text("samples/003b50.png\n")
    (folder / "names.csv").write_text("class,label\n0,zero\n1,one\n")
    return folder


def _write_programs(folder: Path, real: bool) -> None:
    folder.mkdir(parents=True)
    program = Path(sys.executable).parent / "pigeonhole"
    texts = {
        "pigeonhole": _PROGRAM.format(program=program, complete="*hands*" if real else "''"),
        "review": f'#!/bin/sh\nexec {sys.executable} {ROOT / "scripts" / "outputs" / "review.py"} "$@"\n',
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def _copy_samples(folder: Path, name: str) -> None:
    """Copy the samples into a folder for each label."""
    with (ROOT / "samples-labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            (folder / name / row["label"]).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / row["path"], folder / name / row["label"])


def _write_noise(folder: Path, number: int) -> None:
    """Write pictures of 32 x 32 in colour, each of its own noise."""
    random = np.random.default_rng(zlib.crc32("/".join(folder.parts[-2:]).encode()))
    folder.mkdir(parents=True)
    for index in range(number):
        pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"IMG_{folder.name}{index:03}.JPG")


def _write_photo(path: Path) -> None:
    """Write a photo of a digit on paper, with a shadow and two specks."""
    digit = Image.open(ROOT / "samples" / "003b50.png").convert("L").resize((364, 364), Image.Resampling.BICUBIC)
    paper = np.tile(np.linspace(236, 170, 1200), (900, 1))
    paper[270:634, 420:784] *= 1 - 0.8 * np.clip((np.asarray(digit) / 255 - 0.3) / 0.4, 0, 1)
    for row, column in ((120, 200), (760, 1010)):
        paper[row : row + 5, column : column + 5] = 60
    Image.fromarray(paper.astype(np.uint8)).save(path)
