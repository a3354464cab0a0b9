"""Pictures of the shipped checkpoint on the images that it was validated on, for docs/training.md.

The test images would do as well, but pictures are looked at often, and those are for the end.
"""

import argparse
import tempfile
from pathlib import Path

from scripts.doubt import DOCUMENT, divided
from training import checkpoint, loop
from training.report import page
from training.report.measure import Evaluated, measure

PICTURES = ("reliability", "mistakes")


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(prog="make shipped-pictures", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds MNIST")
    source = parser.parse_args().data
    about, network = checkpoint.load(checkpoint.find("digits"))
    _training, validation = divided(about, source)
    report = measure(loop.predict(network, validation.images), validation.labels, about.classes, about.calibration)
    names = tuple(f"validation image {index}" for index in range(len(validation)))
    with tempfile.TemporaryDirectory() as folder:
        page.write(Path(folder), Evaluated(about, "validation images", report, validation.images, names))
        for name in PICTURES:
            (DOCUMENT.parent / f"training-{name}.png").write_bytes((Path(folder) / f"{name}.png").read_bytes())


if __name__ == "__main__":
    main()
