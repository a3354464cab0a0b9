"""Compare the speed of a model and its copy in int8: `python -m benchmarks.studies.quantisation`.

Both run in alternation on the same chunk, in one process with one thread. CPU time is counted, because other programs
may run at the same time.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from pigeonhole.imaging.reader import ImageReader
from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.scores import same_labels
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Location, Root


def main() -> None:
    """Print the CPU time per image of each model, and the number of equal labels."""
    parser = argparse.ArgumentParser(description="Compare the speed of a model and its quantised copy.")
    parser.add_argument("models", nargs=2, metavar="MODEL", help="a model file, or a shipped model's name")
    parser.add_argument("--images", required=True, help="a folder of images")
    parser.add_argument("--chunk", type=int, default=256, help="images at once")
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    settings = Settings()
    models = [Classifier.load(checkpoint.find(Path(name)), settings) for name in asked.models]
    about = models[0].checkpoint
    reader = ImageReader("/", about.preprocessing, settings.max_bytes, settings.max_pixels)
    found = expand([asked.images], Root("/"))
    pixels = np.stack([reader.pixels(Location(one.scheme, one.root, one.path, one.place)) for one in found])
    logits = [
        np.concatenate([model.runtime.logits(part) for part in np.array_split(pixels, len(pixels) // asked.chunk + 1)])
        for model in models
    ]
    times = np.array([[_seconds(model, pixels[: asked.chunk]) for model in models] for _ in range(asked.rounds)])
    times *= 1e6 / len(pixels[: asked.chunk])
    for model, each in zip(models, times.T, strict=True):
        low, middle, high = np.percentile(each, (10, 50, 90))
        print(f"{model.identity}: {middle:,.1f} µs per image (10% to 90%: {low:,.1f} to {high:,.1f})")
    ratios = np.percentile(times[:, 0] / times[:, 1], (10, 50, 90))
    print(
        f"times as fast: {ratios[1]:.2f} ({ratios[0]:.2f} to {ratios[2]:.2f}), {asked.rounds} rounds of {asked.chunk}"
    )
    same = same_labels(logits[0], logits[1], about.calibration, len(about.classes))
    print(f"same labels: {same.sum():,} of {len(same):,} images")


def _seconds(model: Classifier, pixels: np.ndarray) -> float:
    start = time.process_time()
    model.runtime.logits(pixels)
    return time.process_time() - start


if __name__ == "__main__":
    main()
