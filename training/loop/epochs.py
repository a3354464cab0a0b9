"""The training loop: epochs, evaluation after each, which one is kept, and where to go on after an interruption."""

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
    """What one epoch came to.

    Args:
        number: From 1.
        loss: Mean over the epoch's training steps, augmented and smoothed.
        accuracy: On the validation split, 0…1.
        validation_loss: Mean negative log-likelihood there, in nats, at the temperature that suits it best: as it would
            be in a checkpoint.
        seconds: From its first step to the end of its evaluation.
    """

    number: int
    loss: float
    accuracy: float
    validation_loss: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """What training came to.

    Args:
        network: With the weights of the epoch that is kept, in eval mode.
        kept: That epoch.
        epochs: All that were finished.
        interrupted: Whether Ctrl-C ended it early.
    """

    network: nn.Module
    kept: Epoch
    epochs: tuple[Epoch, ...]
    interrupted: bool

    @property
    def seconds(self) -> float:
        """What the epochs took."""
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
    """Train a network and keep its last epoch, where the schedule ends.

    A training that is ended early, by patience or Ctrl-C, keeps the best instead, the one of least validation loss: the
    schedule is broken off there. To choose where it is not would be to choose by chance: the losses differ by less than
    the validation images can tell.

    The same seed on the same machine, with as many threads, gives the same weights bit for bit on the CPU, and so does
    a training that goes on where another was interrupted.

    Args:
        network: With fresh weights; trained in place.
        training: What it learns from.
        validation: What each epoch is measured on.
        recipe: How.
        seed: Of the shuffling and the augmentation.
        device: What torch calls it.
        on_step: Called after each step with the epoch's number, the step's, and how many steps an epoch has.
        on_epoch: Called after each epoch's evaluation.
        classes: How many of the logits are of classes, in both splits; all unless told.
        pool: Other images, for `Recipe.variety`, which says how many; of them a label of `classes` is of no class.
        resume: What `on_state` was last given, to go on from there; all else must be the same then.
        on_state: Called before `on_epoch` with tensors and plain values, which change with the next step: save them.

    Returns:
        The weights that are kept, and what each epoch came to.

    Raises:
        TrainingError: The loss is no number any more, or there is nothing to train on.
        KeyboardInterrupt: Ctrl-C before the first epoch was finished; later ones end training in order.
    """
    if len(training) == 0 or len(validation) == 0 or recipe.epochs < 1 or (recipe.variety > 0) != bool(pool):
        raise TrainingError(
            f"There is nothing to train: {len(training)} images, {len(validation)} to validate on, "
            f"{recipe.epochs} epochs, {len(pool or ())} images for a variety of {recipe.variety:g}."
        )
    network.to(device).to(memory_format=torch.channels_last)  # what the convolutions of a CPU and a GPU like best
    training, validation = training.to(device), validation.to(device)
    steps = max(1, len(training) // recipe.batch_size)
    interrupted = False
    # torch draws dropout from its one global generator: seeded for this, and put back for the caller.
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
    assert weights is not None  # there is at least one epoch
    network.load_state_dict(weights)
    return Outcome(network.eval(), kept, reached.epochs, interrupted)


def _state(run: Run, reached: _Reached) -> dict[str, Any]:
    return {"run": run.state(), "epochs": [epoch.to_json() for epoch in reached.epochs], "best": reached.weights}


def _restored(run: Run, state: Mapping[str, Any]) -> _Reached:
    run.restore(state["run"])
    return _Reached(tuple(Epoch(**values) for values in state["epochs"]), state["best"])


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Run a network over any number of images.

    Args:
        network: In eval mode, on the images' device.
        images: uint8 [N, H, W, C].
        batch_size: Images at once.

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
            f"Training diverged in epoch {number}: its loss is {loss:g}, and {nll:g} on the validation split; "
            "use a larger batch size, or another seed."
        )
    return Epoch(number, loss, accuracy, nll, time.perf_counter() - started)
