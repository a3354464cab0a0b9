"""Write `samples/` and `samples-labels.csv` from MNIST's test images: python scripts/make_samples.py DIR.

DIR contains MNIST/raw. The names are random, so they do not show the labels. The labels are in a file beside the
folder, so that the demo can count right labels. Three more files become error rows, each of another kind.
"""

import argparse
import csv
import io
import random
import struct
from pathlib import Path

import numpy as np
from PIL import Image

PER_DIGIT = 20
SEED = 20
SHORTENED = 0.6  # the share of its bytes that the truncated PNG keeps
TOP = Path(__file__).resolve().parent.parent


def read_idx(path: Path) -> np.ndarray:
    """Read an uncompressed IDX file of bytes: uint8, with the shape in its header."""
    data = path.read_bytes()
    dimensions = data[3]  # the header: 0, 0, 8 for unsigned bytes, number of dimensions; then each length, big-endian
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def encode(pixels: np.ndarray) -> bytes:
    """Return the bytes of a PNG file: uint8 [28, 28] → bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Write the folder, after removing its files."""
    parser = argparse.ArgumentParser(description="Write samples/ from MNIST's test images.")
    parser.add_argument("data", type=Path, help="the folder that contains MNIST/raw")
    raw = parser.parse_args().data / "MNIST" / "raw"
    images, labels = read_idx(raw / "t10k-images-idx3-ubyte"), read_idx(raw / "t10k-labels-idx1-ubyte")

    rng = random.Random(SEED)
    chosen = [index for digit in range(10) for index in rng.sample(np.flatnonzero(labels == digit).tolist(), PER_DIGIT)]
    rng.shuffle(chosen)
    names = sorted(f"{number:06x}" for number in rng.sample(range(16**6), len(chosen) + 1))
    spare = names.pop(rng.randrange(len(names)))

    folder = TOP / "samples"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    with (TOP / "samples-labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "label"])
        for name, index in zip(names, chosen, strict=True):
            (folder / f"{name}.png").write_bytes(encode(images[index]))
            table.writerow([f"samples/{name}.png", int(labels[index])])
    whole = encode(images[rng.choice(np.flatnonzero(labels == 8).tolist())])
    (folder / f"{spare}-truncated.png").write_bytes(whole[: int(len(whole) * SHORTENED)])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("This is a text file, whatever its name says.\n", encoding="utf-8")
    print(f"{len(names)} images of digits and 3 files that become error rows, in {folder}")


if __name__ == "__main__":
    main()
