"""Write training images of MNIST as PNG files: python -m scripts.calibration_images DATA FOLDER.

`make quantise-shipped` measures the ranges of the shipped model's activations on them. DATA contains MNIST/raw.
"""

import argparse
from pathlib import Path

from scripts.make_samples import encode, read_idx

COUNT = 1000


def main() -> None:
    """Write every 60th of the 60,000 images, after removing the folder's PNG files."""
    parser = argparse.ArgumentParser(description="Write training images of MNIST as PNG files.")
    parser.add_argument("data", type=Path, help="the folder that contains MNIST/raw")
    parser.add_argument("folder", type=Path, help="the folder to write; its PNG files are removed first")
    asked = parser.parse_args()
    images = read_idx(asked.data / "MNIST" / "raw" / "train-images-idx3-ubyte")
    asked.folder.mkdir(parents=True, exist_ok=True)
    for old in asked.folder.glob("*.png"):
        old.unlink()
    for number in range(0, len(images), len(images) // COUNT):
        (asked.folder / f"{number:05}.png").write_bytes(encode(images[number]))


if __name__ == "__main__":
    main()
