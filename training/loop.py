"""The training loop: epochs, an average of the weights, evaluation after each, the best kept."""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.augment import Augmentation, augment
from training.data import Split
from training.errors import TrainingError


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        epochs: Passes over the training data.
        batch_size: Images in a step; what is left over at the end of an epoch waits for the next one's shuffle.
        learning_rate: At its peak; it rises over the first `warmup` of the steps and falls to 0 along a cosine.
        warmup: A share of all steps.
        weight_decay: AdamW's.
        label_smoothing: The share of certainty that the target gives away to all classes.
        averaging: How many steps the average of the weights looks back on, as a share of an epoch; the average
            is what is evaluated and kept.
        augmentation: None trains on the images as they are.
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 4e-3
    warmup: float = 0.2
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    averaging: float = 0.5
    augmentation: Augmentation | None = field(default_factory=Augmentation)

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Args:
        number: From 1.
        loss: Mean over the epoch's training steps, augmented and smoothed.
        accuracy: On the validation split, 0…1.
        validation_loss: Mean negative log-likelihood there, in nats.
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
        network: With the weights of the best epoch, in eval mode.
        best: The epoch they are of.
        epochs: All that were finished.
        interrupted: Whether Ctrl-C ended it early.
    """

    network: nn.Module
    best: Epoch
    epochs: tuple[Epoch, ...]
    interrupted: bool


def fit(
    network: nn.Module,
    training: Split,
    validation: Split,
    recipe: Recipe,
    seed: int,
    device: str = "cpu",
    on_step: Callable[[int, int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Outcome:
    """Train a network and keep the best of its epochs: by validation accuracy, then by validation loss.

    The same seed on the same machine, with as many threads, gives the same weights bit for bit on the CPU.

    Args:
        network: With fresh weights; trained in place.
        training: What it learns from.
        validation: What decides which epoch is kept.
        recipe: How.
        seed: Of the shuffling and the augmentation.
        device: What torch calls it.
        on_step: Called after each step with the epoch's number, the step's, and how many steps an epoch has.
        on_epoch: Called after each epoch's evaluation.

    Returns:
        The best weights, and what each epoch came to.

    Raises:
        TrainingError: The loss is no number any more, or there is nothing to train on.
        KeyboardInterrupt: Ctrl-C before the first epoch was finished; later ones end training in order.
    """
    steps = max(1, len(training) // recipe.batch_size)
    if len(training) == 0 or len(validation) == 0 or recipe.epochs < 1:
        raise TrainingError(
            f"There is nothing to train: {len(training)} images, {len(validation)} to validate on, "
            f"{recipe.epochs} epochs."
        )
    network.to(device).to(memory_format=torch.channels_last)  # what the convolutions of a CPU and a GPU like best
    run = _Run(network, recipe, steps, seed)
    training, validation = training.to(device), validation.to(device)
    epochs: list[Epoch] = []
    best: tuple[Epoch, dict[str, Tensor]] | None = None
    interrupted = False
    try:
        for number in range(1, recipe.epochs + 1):
            started = time.perf_counter()
            report = (lambda step, number=number: on_step(number, step, steps)) if on_step else None
            loss = run.epoch(training, report)
            logits = predict(run.average, validation.images)
            epoch = _measure(number, loss, logits, validation.labels.cpu(), time.perf_counter() - started)
            epochs.append(epoch)
            if best is None or _rank(epoch) > _rank(best[0]):
                best = epoch, copy.deepcopy(run.average.state_dict())
            if on_epoch:
                on_epoch(epoch)
    except KeyboardInterrupt:
        if best is None:
            raise
        interrupted = True
    assert best is not None  # there is at least one epoch
    network.load_state_dict(best[1])
    return Outcome(network.eval(), best[0], tuple(epochs), interrupted)


class _Run:
    """What changes from step to step: optimiser, schedule, average and generator."""

    def __init__(self, network: nn.Module, recipe: Recipe, steps: int, seed: int) -> None:
        self.network, self.recipe, self.steps = network, recipe, steps
        self.generator = torch.Generator().manual_seed(seed)
        # Biases and batch normalisation's scales keep their freedom: decay is for what multiplies inputs.
        decayed = [parameter for parameter in network.parameters() if parameter.dim() > 1]
        free = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            fused=True,
        )
        total = recipe.epochs * steps + 1
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            max_lr=recipe.learning_rate,
            total_steps=total,
            # Of a handful of steps, a share may be less than one, and torch divides by it.
            pct_start=min(1.0, max(recipe.warmup, 2 / total)),
            final_div_factor=1e3,
            cycle_momentum=False,
        )
        self.average = copy.deepcopy(network).eval()
        self.taken = 0

    def epoch(self, training: Split, report: Callable[[int], None] | None) -> float:
        """One pass in a new order; returns the mean loss."""
        self.network.train()
        size = self.recipe.batch_size
        order = torch.randperm(len(training), generator=self.generator).to(training.labels.device)
        total = torch.zeros((), device=training.labels.device)
        for step in range(self.steps):
            batch = training.take(order[step * size : (step + 1) * size])
            total += self._step(batch)
            if report:
                report(step + 1)
        loss = float(total) / self.steps
        if loss != loss or loss == float("inf"):
            raise TrainingError(f"Training diverged: the loss is {loss}; use a lower learning rate.")
        return loss

    def _step(self, batch: Split) -> Tensor:
        images = batch.images
        if self.recipe.augmentation is not None:
            images = augment(images, self.recipe.augmentation, self.generator)
        logits = self.network(images)
        loss = functional.cross_entropy(logits, batch.labels, label_smoothing=self.recipe.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.schedule.step()
        self._follow()
        return loss.detach()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average of the weights, and of batch normalisation's statistics, towards the present ones."""
        self.taken += 1
        horizon = max(1.0, self.recipe.averaging * self.steps)
        # Early on it is the mean of all there is, so that the first epochs aren't held back by fresh weights.
        share = max(1 / horizon, 1 / self.taken)
        for kept, present in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(present, share)
            else:
                kept.copy_(present)


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Run a network over any number of images.

    Args:
        network: In eval mode, on the images' device.
        images: uint8 [N, H, W, C].
        batch_size: Images at once.

    Returns:
        float32 logits [N, classes], on the CPU.
    """
    return torch.cat([network(part).float().cpu() for part in torch.split(images, batch_size)])


def _measure(number: int, loss: float, logits: Tensor, labels: Tensor, seconds: float) -> Epoch:
    accuracy = float((logits.argmax(dim=1) == labels).double().mean())
    return Epoch(number, loss, accuracy, float(functional.cross_entropy(logits, labels)), seconds)


def _rank(epoch: Epoch) -> tuple[float, float]:
    return epoch.accuracy, -epoch.validation_loss
