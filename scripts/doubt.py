"""Methods of doubt side by side, each from one forward pass: what to mark for review; `make doubt`.

Each method gives an image one number, the more doubtful the higher. Its threshold marks as many of the validation
images as the budget of review allows, and then counts: which of those that are wrong stay unmarked, and how much of
each kind of pictures that are no digit is marked. The table goes into docs/training.md.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.document import replaced
from training import calibrate, checkpoint, data, loop
from training.checkpoint import Checkpoint
from training.data import Split
from training.report.outliers import blank_kinds, count
from training.source import division

DOCUMENT = Path(__file__).parent.parent / "docs" / "training.md"
BATCH = 1000  # images that are timed at once
NEIGHBOURS = 5
REFERENCES = 6000  # training images that a neighbour is looked for among
ROUNDS = 15  # of timing


@dataclass(frozen=True)
class Said:
    """What a network made of N images.

    Args:
        features: float32 [N, F], what its last layer takes.
        logits: float32 [N, L].
    """

    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Method:
    """One way to doubt.

    Args:
        name: With who published it.
        doubt: Of each image: float [N], higher is more doubtful.
    """

    name: str
    doubt: Callable[[Said], Tensor]


def said(network: nn.Module, images: Tensor) -> Said:
    """Ask a network: uint8 [N, H, W, C] → its features and logits."""
    kept = list[Tensor]()
    hook = network.get_submodule("head").register_forward_pre_hook(lambda _layer, inputs: kept.append(inputs[0]))
    try:
        logits = loop.predict(network, images)
    finally:
        hook.remove()
    return Said(torch.cat(kept), logits)


def methods(about: Checkpoint, learned: Said, labels: Tensor) -> list[Method]:
    """What there is to choose from.

    Args:
        about: The checkpoint.
        learned: What it makes of the training images.
        labels: int64 [N], theirs.
    """
    classes, scale = len(about.classes), about.calibration.temperature
    means = torch.stack([learned.features[labels == one].mean(dim=0) for one in range(classes)])
    whiten = _whitening(learned.features - means[labels])
    spread = torch.linspace(0, len(labels) - 1, min(len(labels), REFERENCES)).long()
    references = functional.normalize(learned.features[spread], dim=1)

    def confidence(it: Said) -> Tensor:
        return -functional.softmax(it.logits[:, :classes] / scale, dim=1).amax(dim=1)

    def energy(it: Said) -> Tensor:
        return -(it.logits[:, :classes] / scale).logsumexp(dim=1)

    def mahalanobis(it: Said) -> Tensor:
        return torch.cdist(it.features @ whiten, means @ whiten).amin(dim=1)

    def neighbour(it: Said) -> Tensor:
        near = functional.normalize(it.features, dim=1) @ references.T
        return -near.topk(NEIGHBOURS, dim=1).values[:, -1]

    def weighed(weight: float) -> Callable[[Said], Tensor]:
        calibration = replace(about.calibration, outlier_in_review=weight)
        return lambda it: -calibrate.surenesses(it.logits, calibration, classes)

    found = [
        Method("confidence among the classes (D. Hendrycks, K. Gimpel, 2017)", confidence),
        Method("energy of the classes' logits (W. Liu et al., 2020)", energy),
        Method("feature distance, Mahalanobis' (K. Lee et al., 2018)", mahalanobis),
        Method(f"feature distance to the {NEIGHBOURS}th neighbour (Y. Sun et al., 2022)", neighbour),
    ]
    if about.calibration.outlier:
        found += [
            Method(f'sureness, "none of these" weighed {weight:g} times', weighed(weight))
            for weight in (1.0, 10.0, calibrate.OUTLIER_IN_REVIEW, 100.0, 1000.0)
        ]
    return found


def _whitening(centred: Tensor) -> Tensor:
    """float32 [F, F]: makes the features' covariance within a class the identity."""
    covariance = (centred.T @ centred / len(centred)).double()
    ridge = 1e-3 * covariance.diagonal().mean()  # a feature that never fires has no variance
    values, vectors = torch.linalg.eigh(covariance + ridge * torch.eye(len(covariance)))
    whiten: Tensor = vectors / values.sqrt()
    return whiten.float()


def seconds(action: Callable[[], object]) -> float:
    """The median of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[ROUNDS // 2]


def divided(about: Checkpoint, source: Path) -> tuple[Split, Split]:
    """MNIST's training images as they were divided for a checkpoint: what it has learned, what it was validated on."""
    return data.divide(data.mnist(source, "train", about.preprocessing), *division(about))


def rows(path: Path, source: Path, outliers: Path) -> list[list[str]]:
    """A checkpoint's part of the table: a row for each method, after the title row."""
    about, network = checkpoint.load(path)
    training, validation = divided(about, source)
    seen = said(network, validation.images)
    wrong = calibrate.answers(seen.logits, len(about.classes)) != validation.labels
    names = tuple(data.folders(outliers))
    read = data.folder(outliers, names, about.preprocessing)
    others = said(network, read.split.images)
    blank = blank_kinds(read.failed, outliers)
    marked = calibrate.most_marked(len(validation), calibrate.REVIEW_BUDGET)
    body = []
    chunk = validation.images[:BATCH]
    one = said(network, chunk)
    forward = seconds(partial(said, network, chunk))
    for method in methods(about, said(network, training.images), training.labels):
        doubt = method.doubt(seen)
        threshold = doubt.sort(descending=True).values[marked]
        kinds = count(method.doubt(others) > threshold, read.split.labels, names, blank)
        left = int((wrong & (doubt <= threshold)).sum())
        extra = seconds(partial(method.doubt, one)) / forward
        caught = [f"{kind.caught / kind.images:.1%}" for kind in kinds]
        body.append([method.name, *caught, str(left), f"+{extra:.1%}"])
    return [["method", *(kind.name for kind in kinds), "wrong and unmarked", "time"], *body]


def markdown(table: Sequence[Sequence[str]]) -> str:
    """The table in Markdown, figures to the right."""
    head, *body = table
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Measure, and write the document."""
    parser = argparse.ArgumentParser(prog="make doubt", description=__doc__.partition(";")[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, help="trained on MNIST")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds MNIST")
    parser.add_argument("--outliers", type=Path, required=True, help="a folder for each kind (`make outliers`)")
    given = parser.parse_args()
    text = DOCUMENT.read_text(encoding="utf-8")
    parts = []
    for path in given.checkpoints:
        file = checkpoint.find(str(path))
        about = checkpoint.describe(file)
        with_logit = "with" if about.calibration.outlier else "without"
        table = markdown(rows(file, given.data, given.outliers))
        parts.append(f"`{about.name}@{about.digest[:12]}`, {with_logit} pictures of no class in training:\n\n{table}")
    DOCUMENT.write_text(replaced(text, "doubt", "\n".join(parts)), encoding="utf-8")
    print("\n".join(parts))


if __name__ == "__main__":
    main()
