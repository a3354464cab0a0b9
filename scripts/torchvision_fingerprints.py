"""Write producer/models/assets/torchvision.json, with which `pigeonhole import` recognises torchvision's networks.

It builds each network twice, with different numbers of classes, on torch's device "meta", which needs no memory. A
RegNet is built on the CPU, and takes up to 5 GB.
"""

import json
import warnings
from pathlib import Path

import torch
import torchvision
from torchvision import models

from producer.models.importing.fingerprints import Fingerprint, Shapes, of

FILE = Path(__file__).resolve().parent.parent / "producer" / "models" / "assets" / "torchvision.json"


def fingerprint(name: str) -> Fingerprint:
    """Return the fingerprint of one of torchvision's networks."""
    shapes, others = (_shapes(name, classes) for classes in (7, 11))
    return of(shapes, (key for key, shape in shapes.items() if shape != others[key]))


def _shapes(name: str, classes: int) -> Shapes:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    # RegNets compute their widths with tensors, which does not work on "meta".
    with warnings.catch_warnings(), torch.device("cpu" if name.startswith("regnet") else "meta"):
        warnings.simplefilter("ignore")
        network = models.get_model(name, weights=None, num_classes=classes, **options)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def main() -> None:
    """Write the file of fingerprints."""
    networks = {name: fingerprint(name)._asdict() for name in models.list_models(module=models)}
    content = {"torchvision": torchvision.__version__.partition("+")[0], "networks": networks}
    FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
