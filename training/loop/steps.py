"""The training step, and the state that it changes: weights, their average, optimiser, schedule, random generators."""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.datasets.splits import Split
from training.recipes.augment import Augmentation, augment
from training.recipes.mixing import Mixed, mix
from training.recipes.recipe import Recipe


class Run:
    """A training that runs step by step.

    Args:
        network: Network that is trained in place.
        recipe: Hyper-parameters of the training.
        steps: Number of steps in an epoch.
        seed: Seed of all random draws.
        classes: Number of logits that are classes; None for all. The next label, if any, is "unknown".
        pool: Synthetic images, for `Recipe.synthetic`.
        counts: int64 [classes], number of images of each class, for `Recipe.balance`.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        steps: int,
        seed: int,
        classes: int | None = None,
        pool: Split | None = None,
        counts: Tensor | None = None,
    ) -> None:
        self.network, self.recipe, self.steps = network, recipe, steps
        self.classes, self.pool = classes, pool
        self.weights = None if counts is None or not recipe.balance else balanced(counts, recipe.balance)
        self.generator = torch.Generator().manual_seed(seed)
        # Weight decay is for weights that multiply inputs, not for biases and the scales of batch normalisation.
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
            # torch divides by the number of warm-up steps, which a share of few steps may round to 0.
            pct_start=min(1.0, max(recipe.warmup, 2 / total)),
            final_div_factor=1e3,
            cycle_momentum=False,
        )
        self.average = copy.deepcopy(network).eval()
        self.taken = 0
        self.undealt = torch.zeros(0, dtype=torch.int64)  # indices of pool images for the next steps, in order

    def state(self) -> dict[str, Any]:
        """Return the state as tensors and plain values; the tensors of weights are not copies."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "taken": self.taken,
            "undealt": self.undealt,
            "generator": self.generator.get_state(),
            "global_generator": torch.get_rng_state(),  # dropout draws from it
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.taken, self.undealt = state["taken"], state["undealt"]
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["global_generator"])

    def epoch(self, training: Split, report: Callable[[int], None] | None) -> float:
        """Train on all images once, in a new random order.

        Args:
            training: Images to train on.
            report: Called after each step with its number, from 1.

        Returns:
            The mean loss; NaN or infinite if training diverged.
        """
        self.network.train()
        size = self.recipe.batch_size
        order = torch.randperm(len(training), generator=self.generator).to(training.labels.device)
        total = torch.zeros((), device=training.labels.device)
        for step in range(self.steps):
            batch = training.take(order[step * size : (step + 1) * size])
            total += self._step(self._prepared(batch))
            if report:
                report(step + 1)
        return float(total) / self.steps

    def _prepared(self, batch: Split) -> Mixed:
        """Return a batch as the network gets it: augmented and mixed, followed by images of the pool."""
        augmented = mix(self._augmented(batch, self._augmentation()), self.recipe.mixing, self.generator)
        if self.pool is None:
            return augmented
        dealt = self._deal(len(self.pool), max(1, round(self.recipe.synthetic * self.recipe.batch_size)))
        return augmented.beside(
            self._augmented(self.pool.take(dealt.to(batch.labels.device)), self.recipe.synthetic_augmentation)
        )

    def _augmentation(self) -> Augmentation | None:
        """Return the augmentation at the present step, after augmentation decay."""
        how, total = self.recipe.augmentation, self.recipe.epochs * self.steps
        decay, left = self.recipe.augmentation_decay * total, total - self.taken
        return how.scaled(left / decay) if how and left < decay else how

    def _augmented(self, batch: Split, how: Augmentation | None) -> Split:
        return batch if how is None else Split(augment(batch.images, how, self.generator), batch.labels)

    def _deal(self, size: int, count: int) -> Tensor:
        """Return the next `count` indices (int64 [count]) of a pool of `size`; each occurs once before any repeats."""
        while len(self.undealt) < count:
            self.undealt = torch.cat([self.undealt, torch.randperm(size, generator=self.generator)])
        dealt, self.undealt = self.undealt[:count], self.undealt[count:]
        return dealt

    def _step(self, batch: Mixed) -> Tensor:
        with in_bfloat16(batch.images.device):
            logits = self.network(batch.images)
        loss = self._loss(logits.float(), batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.schedule.step()
        self._update_average()
        return loss.detach()

    def _loss(self, logits: Tensor, batch: Mixed) -> Tensor:
        recipe = self.recipe
        wanted = self._targets(batch.labels, logits.shape[1])
        if recipe.mixing:
            wanted = torch.lerp(wanted, self._targets(batch.others, logits.shape[1]), batch.pasted[:, None])
        return functional.cross_entropy(logits, wanted, self._weights(logits))

    def _targets(self, labels: Tensor, logits: int) -> Tensor:
        return targets(labels, logits, self.classes or logits, self.recipe.label_smoothing)

    def _weights(self, logits: Tensor) -> Tensor | None:
        """Return the weight of each logit in the loss, float32 [L]; "unknown" has 1."""
        if self.weights is None:
            return None
        missing = logits.shape[1] - len(self.weights)
        return functional.pad(self.weights, (0, missing), value=1.0).to(logits.device)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average of the weights, and of batch normalisation's statistics, towards the present ones."""
        self.taken += 1
        horizon = max(1.0, self.recipe.averaging * self.steps)
        # At first it is the mean of all steps, so that the random initial weights do not dominate the first epochs.
        share = max(1 / horizon, 1 / self.taken)
        for averaged, present in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if averaged.is_floating_point():
                averaged.lerp_(present, share)
            else:
                averaged.copy_(present)


def targets(labels: Tensor, logits: int, classes: int, smoothing: float) -> Tensor:
    """Return the target probabilities of labels, with label smoothing.

    Args:
        labels: int64 [N].
        logits: Number of logits, L: `classes`, or one more for "unknown".
        classes: Number of classes.
        smoothing: Share of a class's probability that is spread over all classes; "unknown" is not smoothed.

    Returns:
        float32 [N, L]; each row adds up to 1.
    """
    exact = functional.one_hot(labels, logits).float()
    uniform = torch.zeros(logits, device=labels.device)
    uniform[:classes] = 1 / classes
    share = torch.where(labels < classes, smoothing, 0.0)[:, None]  # [N, 1]
    return torch.lerp(exact, uniform.expand_as(exact), share)


def balanced(counts: Tensor, power: float) -> Tensor:
    """Return the weight of each class in the loss; the mean over all images is 1.

    Args:
        counts: int64 [classes], number of images of each class.
        power: Value of `Recipe.balance`.

    Returns:
        float32 [classes]; 0 for a class without images.
    """
    numbers = counts.double()
    weights = torch.where(counts > 0, numbers.clamp(min=1) ** -power, 0.0)
    return (weights * numbers.sum() / (weights * numbers).sum()).float()


def in_bfloat16(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which a CPU that has bfloat16 uses it: convolutions and linear layers take half the time.

    Weights, gradients and the loss stay float32, and so does everything outside training.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cpu" and _has_bfloat16())


@cache
def _has_bfloat16() -> bool:
    # Without the instructions, bfloat16 is emulated and slower. Older releases of torch don't list them.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16", False))
