"""Make `samples/` and `samples-labels.csv` from MNIST's test images: python scripts/make_samples.py DIR.

DIR holds MNIST/raw. The names are drawn by lot and give no label away; the labels lie beside the folder, so that
the demo can say how many it got right. Three more files are meant to fail, each in its own way.
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
SHORTENED = 0.6  # of its bytes, the share that the truncated PNG keeps
TOP = Path(__file__).resolve().parent.parent


def read_idx(path: Path) -> np.ndarray:
    """Read an uncompressed IDX file of bytes: uint8, of the shape that its header says."""
    data = path.read_bytes()
    dimensions = data[3]  # 0, 0, 8 for unsigned bytes, how many dimensions; then each extent, big-endian
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def encode(pixels: np.ndarray) -> bytes:
    """uint8 [28, 28] → a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Write the folder anew."""
    parser = argparse.ArgumentParser(description="Make samples/ from MNIST's test images.")
    parser.add_argument("data", type=Path, help="the folder that holds MNIST/raw")
    raw = parser.parse_args().data / "MNIST" / "raw"
    images, labels = read_idx(raw / "t10k-images-idx3-ubyte"), read_idx(raw / "t10k-labels-idx1-ubyte")

    lot = random.Random(SEED)
    chosen = [index for digit in range(10) for index in lot.sample(np.flatnonzero(labels == digit).tolist(), PER_DIGIT)]
    lot.shuffle(chosen)
    names = sorted(f"{number:06x}" for number in lot.sample(range(16**6), len(chosen) + 1))
    spare = names.pop(lot.randrange(len(names)))

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
    whole = encode(images[lot.choice(np.flatnonzero(labels == 8).tolist())])
    (folder / f"{spare}-truncated.png").write_bytes(whole[: int(len(whole) * SHORTENED)])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("This is a text file, whatever its name says.\n", encoding="utf-8")
    print(f"{len(names)} images of digits and 3 files that are meant to fail, in {folder}")


if __name__ == "__main__":
    main()
