import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pigeonhole.errors import TrainingError
from pigeonhole.models.networks import registry as networks
from training.datasets import mnist
from training.datasets.splits import Split
from training.evaluation.calibrate import calibrate, negative_log_likelihood
from training.loop import epochs, steps
from training.loop.epochs import Epoch, Outcome
from training.recipes.augment import Augmentation, augment
from training.recipes.defaults import plan
from training.recipes.recipe import Recipe

RECIPE = Recipe(epochs=4, batch_size=32)
VARIED = replace(RECIPE, synthetic=0.5, outliers=0.5, augmentation_decay=0.5)


@pytest.fixture(scope="module")
def splits(tiny_mnist: Path) -> tuple[Split, Split]:
    return mnist.divide(mnist.read(tiny_mnist, "train", plan("digits").preprocessing), 0.2, 0)


@pytest.fixture(scope="module")
def pool(splits: tuple[Split, Split]) -> Split:
    """Return a small pool: 50 dim digits, and 50 images of noise with the label "unknown"."""
    generator = torch.Generator().manual_seed(5)
    digits = splits[0].take(torch.arange(50))
    noise = torch.randint(0, 256, digits.images.shape, dtype=torch.uint8, generator=generator)
    return Split(torch.cat([digits.images // 2, noise]), torch.cat([digits.labels, torch.full((50,), 10)]))


def trained(
    splits: tuple[Split, Split], seed: int = 0, recipe: Recipe = RECIPE, logits: int = 10, **more: object
) -> Outcome:
    torch.manual_seed(seed)
    network = networks.build("digits", networks.complete("digits", {}), logits)
    return epochs.fit(network, *splits, recipe, seed, **more)  # type: ignore[arg-type]


def same(one: Outcome, other: Outcome) -> bool:
    first, second = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(first[key], second[key]) for key in first)


def test_a_short_training_learns(splits: tuple[Split, Split]) -> None:
    outcome = trained(splits)
    assert outcome.kept.accuracy > 0.8
    assert outcome.epochs[-1].loss < outcome.epochs[0].loss
    assert [epoch.number for epoch in outcome.epochs] == [1, 2, 3, 4]
    assert not outcome.interrupted
    assert not outcome.network.training


def test_the_classic_network_learns_too(splits: tuple[Split, Split]) -> None:
    network = networks.build("classic", {}, 10)
    recipe = Recipe(epochs=2, batch_size=32, learning_rate=plan("classic").recipe.learning_rate)
    assert epochs.fit(network, *splits, recipe, 0).kept.accuracy > 0.7


def test_the_same_seed_gives_the_same_weights_bit_for_bit(splits: tuple[Split, Split]) -> None:
    one, again, other = (trained(splits, seed) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("patience", [0, 4])
def test_the_last_epoch_is_kept_or_the_best_one_with_patience(
    splits: tuple[Split, Split], monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    real, factors = epochs._measured, iter([4.0, 1.0, 2.0, 3.0])

    def measured(number: int, *rest: Any) -> Epoch:
        return replace(real(number, *rest), validation_loss=next(factors))

    monkeypatch.setattr("training.loop.epochs._measured", measured)
    outcome = trained(splits, recipe=replace(RECIPE, patience=patience))
    assert len(outcome.epochs) == 4
    assert outcome.kept is outcome.epochs[1 if patience else -1]
    logits = epochs.predict(outcome.network, splits[1].images)
    assert float((logits.argmax(1) == splits[1].labels).double().mean()) == outcome.kept.accuracy


def test_the_recorded_loss_is_that_of_the_saved_network(splits: tuple[Split, Split]) -> None:
    outcome = trained(splits)
    logits = epochs.predict(outcome.network, splits[1].images)
    assert float((logits.argmax(1) == splits[1].labels).double().mean()) == outcome.kept.accuracy
    calibration = calibrate(logits, splits[1].labels, 10)
    assert negative_log_likelihood(logits, splits[1].labels, calibration) == outcome.kept.validation_loss


def test_ctrl_c_keeps_the_best_epoch_so_far(splits: tuple[Split, Split]) -> None:
    reported: list[Epoch] = []

    def interrupt(epoch: int, step: int, _steps: int) -> None:
        if (epoch, step) == (3, 2):
            raise KeyboardInterrupt

    outcome = trained(splits, on_step=interrupt, on_epoch=reported.append)
    assert outcome.interrupted
    assert outcome.epochs == tuple(reported)
    assert len(reported) == 2
    logits = epochs.predict(outcome.network, splits[1].images)
    assert float((logits.argmax(1) == splits[1].labels).double().mean()) == outcome.kept.accuracy
    assert outcome.kept in reported


def test_ctrl_c_in_the_first_epoch_keeps_nothing(splits: tuple[Split, Split]) -> None:
    def interrupt(_epoch: int, _step: int, _steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(splits, on_step=interrupt)


def test_synthetic_images_teach_the_unknown_class_and_the_same_seed_gives_the_same_weights(
    splits: tuple[Split, Split], pool: Split
) -> None:
    one, again = (trained(splits, recipe=VARIED, logits=11, classes=10, pool=pool) for _ in range(2))
    assert same(one, again)
    assert one.kept.accuracy > 0.8
    other = epochs.predict(one.network, pool.images).softmax(dim=1)[:, 10]  # [100]
    assert float(other[50:].mean()) > 0.6 > 0.3 > float(other[:50].mean())


def test_the_unknown_logit_is_never_a_prediction(splits: tuple[Split, Split]) -> None:
    class Constant(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.0, 1.0, 2.0]).expand(len(pixels), 3)

    ones = Split(splits[1].images, torch.ones_like(splits[1].labels))
    epoch = epochs._measured(1, 0.0, Constant(), ones, 2, 0.0)
    assert epoch.accuracy == 1.0


def test_every_image_of_the_pool_is_used_before_one_is_repeated() -> None:
    recipe = Recipe(epochs=1, batch_size=8, synthetic=0.5)
    run = steps.Run(networks.build("classic", {}, 11), recipe, 1, 0)
    dealt = torch.cat([run._deal(10, 4) for _ in range(10)])  # [40]
    for round_ in dealt.reshape(4, 10):
        assert sorted(round_.tolist()) == list(range(10))
    assert len({tuple(round_.tolist()) for round_ in dealt.reshape(4, 10)}) == 4
    assert len(torch.unique(run._deal(3, 7))) == 3, (
        "a pool smaller than the share of a step is repeated within the step"
    )


def test_augmentation_decays_over_the_last_steps() -> None:
    recipe = Recipe(epochs=5, batch_size=8, augmentation_decay=0.4)
    run = steps.Run(networks.build("classic", {}, 10), recipe, 10, 0)
    degrees = []
    for run.taken in range(50):
        augmentation = run._augmentation()
        assert augmentation is not None
        degrees.append(augmentation.degrees / Augmentation().degrees)
    assert degrees[:31] == [1.0] * 31
    assert degrees[31:] == pytest.approx([left / 20 for left in range(19, 0, -1)])
    run.recipe = replace(recipe, augmentation=None)
    assert run._augmentation() is None


def test_targets_are_smoothed_over_the_classes_but_not_for_unknown() -> None:
    wanted = steps.targets(torch.tensor([1, 4]), 5, 4, 0.2)
    assert torch.allclose(wanted, torch.tensor([[0.05, 0.85, 0.05, 0.05, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]]))
    labels, logits = torch.tensor([3, 0]), torch.randn(2, 4)
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.allclose(torch.nn.functional.cross_entropy(logits, steps.targets(labels, 4, 4, 0.1)), expected)


def stored(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state as `torch.load` reads it from a file."""
    content = io.BytesIO()
    torch.save(state, content)
    content.seek(0)
    return dict(torch.load(content, weights_only=True))


@pytest.mark.parametrize("after", [1, 3, 4])
def test_a_resumed_training_gives_the_same_result_as_an_uninterrupted_one(
    splits: tuple[Split, Split], pool: Split, after: int
) -> None:
    states: list[Mapping[str, Any]] = []
    options: dict[str, Any] = {"recipe": VARIED, "logits": 11, "classes": 10, "pool": pool}
    whole = trained(splits, **options, on_state=lambda state: states.append(stored(state)))
    assert len(states) == 4
    numbers: list[int] = []
    torch.manual_seed(99)
    resumed = trained(splits, **options, resume=states[after - 1], on_epoch=lambda epoch: numbers.append(epoch.number))
    assert numbers == list(range(after + 1, 5))
    assert same(whole, resumed)
    assert [replace(epoch, seconds=0) for epoch in resumed.epochs] == [
        replace(epoch, seconds=0) for epoch in whole.epochs
    ]


def test_dropout_depends_on_the_seed_and_leaves_the_callers_generator_unchanged(splits: tuple[Split, Split]) -> None:
    def train_once(resume: Mapping[str, Any] | None = None) -> tuple[Outcome, list[Mapping[str, Any]]]:
        torch.manual_seed(0)
        network = torch.nn.Sequential(networks.build("digits", {}, 10), torch.nn.Dropout(0.3))
        states: list[Mapping[str, Any]] = []
        torch.manual_seed(torch.seed() % 1000)
        before = torch.get_rng_state()
        recipe = replace(RECIPE, epochs=2)
        done = epochs.fit(network, *splits, recipe, 0, resume=resume, on_state=lambda now: states.append(stored(now)))
        assert torch.equal(torch.get_rng_state(), before)
        return done, states

    one, states = train_once()
    assert same(one, train_once()[0])
    assert same(one, train_once(states[0])[0])


def test_patience_ends_a_training_that_no_longer_improves(
    splits: tuple[Split, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.5, 0.3, 0.4, 0.3, 0.2, 0.1])

    def measured(number: int, *_rest: object) -> Epoch:
        return Epoch(number, 1.0, 0.9, next(losses), 0.1)

    monkeypatch.setattr("training.loop.epochs._measured", measured)
    states: list[Mapping[str, Any]] = []
    recipe = Recipe(epochs=6, batch_size=160, patience=2)
    outcome = trained(splits, recipe=recipe, on_state=lambda state: states.append(stored(state)))
    assert [epoch.number for epoch in outcome.epochs] == [1, 2, 3, 4]
    assert outcome.kept.number == 2
    assert not outcome.interrupted
    assert len(trained(splits, recipe=recipe, resume=states[-1]).epochs) == 4, "a finished training does not continue"


def test_each_step_is_reported(splits: tuple[Split, Split]) -> None:
    steps: list[tuple[int, int, int]] = []
    trained(splits, recipe=Recipe(epochs=2, batch_size=100), on_step=lambda *step: steps.append(step))
    assert steps == [(epoch, step, 4) for epoch in (1, 2) for step in (1, 2, 3, 4)]


def test_a_diverging_training_is_an_error(splits: tuple[Split, Split]) -> None:
    with pytest.raises(TrainingError, match=r"diverged in epoch 1.* --batch-size"):
        trained(splits, recipe=Recipe(epochs=2, batch_size=32, learning_rate=1e25))


def test_training_without_images_is_an_error(splits: tuple[Split, Split]) -> None:
    empty = splits[0].take(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(TrainingError, match=r"0 images, 120 .*, 4 epochs"):
        trained((empty, splits[1]))
    with pytest.raises(TrainingError, match=r"0 synthetic images.*0\.5"):
        trained(splits, recipe=VARIED, logits=11, classes=10)


def test_an_augmentation_of_zero_changes_nothing(splits: tuple[Split, Split]) -> None:
    images = splits[0].images[:20]
    augmented = augment(images, Augmentation(0, 0, 0, 0), torch.Generator().manual_seed(0))
    assert torch.equal(augmented, images)


def test_augmentation_moves_each_image_differently_and_depends_on_the_seed(splits: tuple[Split, Split]) -> None:
    same = splits[0].images[:1].expand(8, -1, -1, -1)
    one, again, other = (augment(same, Augmentation(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert len({image.numpy().tobytes() for image in one}) == 8
    assert one.dtype == torch.uint8
    assert one.shape == same.shape


def test_a_shift_stays_within_its_limit() -> None:
    dot = torch.zeros(500, 28, 28, 1, dtype=torch.uint8)
    dot[:, 14, 14] = 255
    augmented = augment(dot, Augmentation(0, 0, 0, shift=2.0), torch.Generator().manual_seed(0))
    rows, columns = (augmented.flatten(3).amax(dim=(0, 2, 3)), augmented.flatten(3).amax(dim=(0, 1, 3)))
    for line in (rows, columns):
        inked = line.nonzero().flatten()
        assert inked.min() in (11, 12)
        assert inked.max() in (16, 17)


def test_rotations_are_clockwise_as_often_as_anticlockwise() -> None:
    stroke = torch.zeros(400, 28, 28, 1, dtype=torch.uint8)
    stroke[:, 4:24, 14] = 255
    augmented = augment(stroke, Augmentation(degrees=30, scale=0, shear=0, shift=0), torch.Generator().manual_seed(0))
    top = augmented[:, 5, :, 0].double()  # [N, 28]
    offset = (top * torch.arange(28)).sum(1) / top.sum(1).clamp(min=1) - 14
    assert abs(float(offset[top.sum(1) > 0].mean())) < 0.7
    assert float(offset[top.sum(1) > 0].max()) > 3


def test_prediction_in_batches_equals_prediction_at_once(splits: tuple[Split, Split]) -> None:
    network = networks.build("digits", {}, 10).eval()
    images = splits[0].images[:50]
    assert torch.allclose(epochs.predict(network, images, batch_size=7), epochs.predict(network, images), atol=1e-5)
