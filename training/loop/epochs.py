"""The training loop: epochs, the evaluation after each, the choice of the best, and the state to resume from."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pigeonhole.errors import TrainingError
from training.datasets.splits import Split
from training.evaluation.calibrate import calibrate, negative_log_likelihood
from training.loop.steps import Run
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class Epoch:
    """The measures of one epoch.

    Args:
        number: Number of the epoch, from 1.
        loss: Mean loss over the training steps, with augmentation and label smoothing.
        accuracy: Accuracy on the validation split, 0…1.
        validation_loss: Mean negative log-likelihood on the validation split, in nats, after calibration, as it would
            be in a checkpoint.
        seconds: Time from the first step to the end of the evaluation.
    """

    number: int
    loss: float
    accuracy: float
    validation_loss: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the measures as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """The result of a training.

    Args:
        network: Network with the weights of the chosen epoch, in eval mode.
        kept: The chosen epoch.
        epochs: All finished epochs.
        interrupted: Whether Ctrl-C ended the training early.
    """

    network: nn.Module
    kept: Epoch
    epochs: tuple[Epoch, ...]
    interrupted: bool

    @property
    def seconds(self) -> float:
        """Return the time of all epochs in seconds."""
        return sum(epoch.seconds for epoch in self.epochs)


@dataclass(frozen=True)
class _Reached:
    """The epochs so far, and the weights of the best."""

    epochs: tuple[Epoch, ...] = ()
    weights: Mapping[str, Tensor] | None = None

    @property
    def best(self) -> Epoch:
        return min(self.epochs, key=lambda epoch: epoch.validation_loss)  # the first of equals

    def after(self, epoch: Epoch, network: nn.Module) -> "_Reached":
        more = _Reached((*self.epochs, epoch), self.weights)
        return _Reached(more.epochs, copy.deepcopy(network.state_dict())) if more.best is epoch else more

    def is_over(self, recipe: Recipe) -> bool:
        if not self.epochs or len(self.epochs) >= recipe.epochs:
            return len(self.epochs) >= recipe.epochs
        return 0 < recipe.patience <= len(self.epochs) - self.best.number


def fit(
    network: nn.Module,
    training: Split,
    validation: Split,
    recipe: Recipe,
    seed: int,
    device: str = "cpu",
    on_step: Callable[[int, int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    *,
    classes: int | None = None,
    pool: Split | None = None,
    resume: Mapping[str, Any] | None = None,
    on_state: Callable[[Mapping[str, Any]], None] | None = None,
) -> Outcome:
    """Train a network and choose its last epoch, where the learning rate has fallen to 0.

    If patience or Ctrl-C ends training early, the epoch of least validation loss is chosen instead. At the end of the
    whole schedule such a choice would be random: the losses of the last epochs differ by less than their error.

    On the CPU of one machine, the same seed and number of threads give the same weights bit for bit, also if training
    was interrupted and resumed.

    Args:
        network: Network with its initial weights; trained in place.
        training: Images to train on.
        validation: Images that each epoch is measured on.
        recipe: Hyper-parameters of the training.
        seed: Seed of shuffling and augmentation.
        device: Name of the device in torch.
        on_step: Called after each step with the number of the epoch, of the step, and of steps in an epoch.
        on_epoch: Called after each epoch's evaluation.
        classes: Number of logits that are classes; None for all.
        pool: Synthetic images, for `Recipe.synthetic`; the label `classes` stands for "unknown".
        resume: State that `on_state` received last, to resume from; all other arguments must be the same.
        on_state: Called before `on_epoch` with tensors and plain values. Save them at once: the next step changes them.

    Returns:
        The chosen weights, and the measures of each epoch.

    Raises:
        TrainingError: The loss is no longer finite, or there is nothing to train on.
        KeyboardInterrupt: Ctrl-C before the first epoch was finished; later, Ctrl-C ends training normally.
    """
    if len(training) == 0 or len(validation) == 0 or recipe.epochs < 1 or (recipe.synthetic > 0) != bool(pool):
        raise TrainingError(
            f"There is nothing to train: {len(training)} images, {len(validation)} to validate on, "
            f"{recipe.epochs} epochs, {len(pool or ())} synthetic images for synthetic={recipe.synthetic:g}."
        )
    network.to(device).to(memory_format=torch.channels_last)  # faster for convolutions on CPU and GPU
    training, validation = training.to(device), validation.to(device)
    steps = max(1, len(training) // recipe.batch_size)
    interrupted = False
    # Dropout draws from torch's global generator: it is seeded here, and restored for the caller.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        counts = torch.bincount(training.labels.cpu(), minlength=classes or 0)
        run = Run(network, recipe, steps, seed, classes, pool.to(device) if pool else None, counts)
        reached = _restored(run, resume) if resume else _Reached()
        try:
            while not reached.is_over(recipe):
                started, number = time.perf_counter(), len(reached.epochs) + 1
                report = (lambda step, number=number: on_step(number, step, steps)) if on_step else None
                loss = run.epoch(training, report)
                epoch = _measured(number, loss, run.average, validation, classes, started)
                reached = reached.after(epoch, run.average)
                if on_state:
                    on_state(_state(run, reached))
                if on_epoch:
                    on_epoch(epoch)
        except KeyboardInterrupt:
            if not reached.epochs:
                raise
            interrupted = True
    kept, weights = reached.best, reached.weights
    if not interrupted and not recipe.patience:
        kept, weights = reached.epochs[-1], run.average.state_dict()
    assert weights is not None  # at least one epoch has ended
    network.load_state_dict(weights)
    return Outcome(network.eval(), kept, reached.epochs, interrupted)


def _state(run: Run, reached: _Reached) -> dict[str, Any]:
    return {"run": run.state(), "epochs": [epoch.to_json() for epoch in reached.epochs], "best": reached.weights}


def _restored(run: Run, state: Mapping[str, Any]) -> _Reached:
    run.restore(state["run"])
    return _Reached(tuple(Epoch(**values) for values in state["epochs"]), state["best"])


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Run a network on any number of images, in batches.

    Args:
        network: Network in eval mode, on the images' device.
        images: uint8 [N, H, W, C].
        batch_size: Number of images in a batch.

    Returns:
        float32 logits [N, L], on the CPU.
    """
    return torch.cat([network(part).float().cpu() for part in torch.split(images, batch_size)])


def _measured(
    number: int, loss: float, network: nn.Module, validation: Split, classes: int | None, started: float
) -> Epoch:
    logits, labels = predict(network, validation.images), validation.labels.cpu()
    accuracy = float((logits[:, :classes].argmax(dim=1) == labels).double().mean())
    nll = negative_log_likelihood(logits, labels, calibrate(logits, labels, classes or logits.shape[1]))
    if not (math.isfinite(loss) and math.isfinite(nll)):
        raise TrainingError(
            f"Training diverged in epoch {number}: the loss is {loss:g}, and {nll:g} on the validation split. "
            "Try a larger --batch-size, or another --seed."
        )
    return Epoch(number, loss, accuracy, nll, time.perf_counter() - started)
