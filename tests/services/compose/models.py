"""Checks of other models: the torch runtime, an imported model, and a trained one."""

import csv
import shutil
import struct
import time
from pathlib import Path

from tests.services.compose.installation import Site
from tests.services.compose.stack import ROOT, check, is_lab, say

#: A script that saves random weights of the classic network with torch, as others publish them.
SAVE_CLASSIC = """
import torch
from pigeonhole.models.networks.registry import build

torch.manual_seed(1)
torch.save(build("classic", {}, 10).layers.state_dict(), "/models/mnist_cnn.pt")
"""
#: The least share of its training images that a trained network must classify correctly.
LEARNED = 0.9


def serve_with_torch(site: Site) -> None:
    """Classify the samples with torch, and compare with the embedded run's ONNX Runtime."""
    site.stack.environment["WORKER_TARGET"] = "worker-torch"
    site.stack("build", "worker")
    site.up(2, PIGEONHOLE_RUNTIME="torch")
    for worker in site.stack.containers("worker"):
        check("(torch/f32)" in site.stack.log(worker), f"the log of {worker} does not name torch")
    site.classify_samples("torch.csv")
    site.compare("torch.csv")
    site.stack.environment |= {"WORKER_TARGET": "worker", "PIGEONHOLE_RUNTIME": "auto"}
    say("torch: the same rows as ONNX Runtime's")


def import_and_serve(site: Site) -> None:
    """Import a state_dict of the classic network, and serve it with each runtime."""
    site.stack("run", "--rm", "-T", "--entrypoint", "python", "training", "-c", SAVE_CLASSIC)
    site.stack.task("training", "import", "/models/mnist_cnn.pt", "-o", "/models/classic.safetensors")
    rows = []
    for runtime, target in (("onnxruntime", "worker"), ("torch", "worker-torch")):
        site.stack.environment["WORKER_TARGET"] = target
        site.up(2, PIGEONHOLE_MODEL="/models/classic.safetensors", PIGEONHOLE_RUNTIME=runtime)
        rows.append(site.classify_samples(f"{runtime}.csv"))
    for row, other in zip(*rows, strict=True):
        check(row.path == other.path and row.agrees(other), f"{row} by ONNX Runtime, {other} by torch")
    check(rows[0][0].model.startswith("classic@"), f"rows come from {rows[0][0].model}")
    say(f"imported: {len(rows[0])} rows by each runtime, and they agree")


def train_and_serve(site: Site) -> None:
    """Train on a stand-in for MNIST and on a folder of class folders, and serve the latter's checkpoint."""
    pinned = site.stack.environment.get("TORCH")
    if is_lab(site.stack.environment):
        # torchvision in the image only fits the index's torch.
        site.stack.environment["TORCH"] = "torch"
    site.build("training")
    site.stack.environment |= {"DATA": str(site.work / "mnist"), "TORCH": pinned or "torch"}
    _write_stand_in(site.work / "mnist" / "MNIST" / "raw")
    _train(site, "--epochs", "1", "-o", "/models/bars.safetensors")
    site.stack.environment["DATA"] = str(site.work / "data")
    truth = _write_class_folders(site.work / "data")
    _train(site, "--dataset", "folder:/data", "--epochs", "20", "-o", "/models/mine.safetensors")
    site.up(2, PIGEONHOLE_MODEL="/models/mine.safetensors")
    rows = site.classify_samples("mine.csv")
    models = {row.model.partition("@")[0] for row in rows}
    check(models == {"mine"}, f"rows come from {models}, not from the trained checkpoint")
    right = sum(row.label == truth.get(Path(row.path).name) for row in rows)
    check(right >= LEARNED * len(truth), f"only {right} of the {len(truth)} training images are right")
    say(f"served: every row names the trained checkpoint, and {right} of the {len(truth)} labels are right")


def _train(site: Site, *arguments: str) -> None:
    started = time.monotonic()
    output = site.stack.task("training", "train", *arguments)
    say(f"training: {'; '.join(output.splitlines())}; {time.monotonic() - started:.0f} s with its container")


def _write_stand_in(raw: Path) -> None:
    """Write files in MNIST's format with bars instead of digits, to test that training runs."""
    raw.mkdir(parents=True)
    for part, images in (("train", 6000), ("t10k", 500)):
        labels = bytes(number % 10 for number in range(images))
        rows = (b"\xff" * 28 if row // 2 == label + 1 else bytes(28) for label in labels for row in range(28))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, images) + labels)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, images, 28, 28) + b"".join(rows))


def _write_class_folders(top: Path) -> dict[str, str]:
    """Copy the labelled samples into a folder for each label; return a dict from name to label."""
    truth = {}
    with (ROOT / "samples-labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            image = ROOT / row["path"]
            truth[image.name] = row["label"]
            (top / row["label"]).mkdir(exist_ok=True)
            shutil.copy(image, top / row["label"])
    return truth
