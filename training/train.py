"""Training, whole: data, network, epochs, calibration, checkpoint. What is said and drawn is the caller's business."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from training import checkpoint, data, environment, loop, model
from training.calibrate import calibrate
from training.checkpoint import Checkpoint
from training.data import Split
from training.errors import CheckpointError
from training.loop import Epoch, Outcome, Recipe
from training.recipes import plan
from training.report import measure
from training.report.measure import Evaluated


@dataclass(frozen=True)
class Order:
    """What to train.

    Args:
        data: The folder that holds MNIST.
        output: The checkpoint to write.
        network: Its name.
        name: The checkpoint's; it names a queue.
        epochs: None for the network's own default.
        batch_size: Likewise.
        seed: Of the split, the weights, the shuffling and the augmentation.
        validation: The share of the training images that is kept for validation.
        device: "auto", "cpu" or "cuda".
    """

    data: Path
    output: Path
    network: str = "digits"
    name: str = "digits"
    epochs: int | None = None
    batch_size: int | None = None
    seed: int = 0
    validation: float = 0.05
    device: str = "auto"

    def recipe(self) -> Recipe:
        """The network's recipe with what was asked for."""
        recipe = plan(self.network).recipe
        return replace(recipe, epochs=self.epochs or recipe.epochs, batch_size=self.batch_size or recipe.batch_size)


@dataclass(frozen=True)
class Trained:
    """What training came to: the checkpoint as written, how it does on the test images, and how it went."""

    checkpoint: Checkpoint
    test: Evaluated
    outcome: Outcome
    seconds: float


def train(
    order: Order,
    on_step: Callable[[int, int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train on MNIST and write one checkpoint; Ctrl-C after the first epoch keeps the best so far.

    Args:
        order: What.
        on_step: As of `training.loop.fit`.
        on_epoch: As of `training.loop.fit`.

    Returns:
        What came of it.

    Raises:
        TrainingError: The data, the device, the name or the output won't do; said before training begins.
        KeyboardInterrupt: Ctrl-C before the first epoch was finished.
    """
    checkpoint.check_name(order.name)
    if not order.output.parent.is_dir():
        raise CheckpointError(f"{order.output.parent} is not a folder; make it, or choose another -o.")
    device, chosen, recipe = environment.device(order.device), plan(order.network), order.recipe()
    whole = data.mnist(order.data, "train", chosen.preprocessing)
    test = data.mnist(order.data, "test", chosen.preprocessing)
    training, validation = data.divide(whole, order.validation, order.seed)
    arguments = model.complete(order.network, {})
    classes = data.MNIST_CLASSES

    started = time.perf_counter()
    network = _fresh(order.network, model.trainable(order.network, arguments), len(classes), order.seed)
    outcome = loop.fit(network, training, validation, recipe, order.seed, device, on_step, on_epoch)
    seconds = time.perf_counter() - started

    served = model.fold(order.network, arguments, len(classes), outcome.network)
    logits = loop.predict(served, validation.images)
    calibration = calibrate(logits, validation.labels, len(classes))
    on_validation = measure.measure(logits, validation.labels, classes, calibration)
    on_test = measure.measure(loop.predict(served, test.images), test.labels, classes, calibration)
    written = checkpoint.save(
        order.output,
        served,
        name=order.name,
        architecture=order.network,
        arguments=arguments,
        classes=classes,
        preprocessing=chosen.preprocessing,
        calibration=calibration,
        trained={
            "dataset": "mnist",
            "data_digest": _data_digest(whole),
            "training_images": len(training),
            "validation_images": len(validation),
            "seed": order.seed,
            "recipe": recipe.to_json(),
            "epochs": [epoch.to_json() for epoch in outcome.epochs],
            "best_epoch": outcome.best.number,
            "interrupted": outcome.interrupted,
            **_circumstances(device, seconds),
        },
        measured={"validation": on_validation.to_json(), "test": on_test.to_json()},
    )
    evaluated = Evaluated(written, data.MNIST_TEST, on_test, test.images, data.test_names(len(test)))
    return Trained(written, evaluated, outcome, seconds)


def _fresh(network: str, arguments: dict[str, Any], classes: int, seed: int) -> torch.nn.Module:
    # torch draws fresh weights from its one global generator: seeded for this, and put back for the caller.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model.build(network, arguments, classes)


def _data_digest(split: Split) -> str:
    digest = hashlib.sha256(split.images.numpy().tobytes())
    digest.update(split.labels.numpy().tobytes())
    return digest.hexdigest()


def _circumstances(device: str, seconds: float) -> dict[str, Any]:
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 1),
        "finished": environment.now(),
        "versions": environment.versions(),
    }
