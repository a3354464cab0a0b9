from pathlib import Path

import pytest
import torch

from training import data, loop, model
from training.augment import Augmentation, augment
from training.data import Split
from training.errors import TrainingError
from training.loop import Epoch, Outcome, Recipe
from training.recipes import plan

RECIPE = Recipe(epochs=4, batch_size=32)


@pytest.fixture(scope="module")
def splits(tiny_mnist: Path) -> tuple[Split, Split]:
    return data.divide(data.mnist(tiny_mnist, "train", plan("digits").preprocessing), 0.2, 0)


def trained(splits: tuple[Split, Split], seed: int = 0, recipe: Recipe = RECIPE, **hooks: object) -> Outcome:
    torch.manual_seed(seed)
    network = model.build("digits", model.trainable("digits", {}), 10)
    return loop.fit(network, *splits, recipe, seed, **hooks)  # type: ignore[arg-type]


def test_a_short_training_learns(splits: tuple[Split, Split]) -> None:
    outcome = trained(splits)
    assert outcome.best.accuracy > 0.8
    assert outcome.epochs[-1].loss < outcome.epochs[0].loss
    assert [epoch.number for epoch in outcome.epochs] == [1, 2, 3, 4]
    assert not outcome.interrupted
    assert not outcome.network.training


def test_the_classic_network_learns_too(splits: tuple[Split, Split]) -> None:
    network = model.build("classic", {}, 10)
    recipe = Recipe(epochs=2, batch_size=32, learning_rate=plan("classic").recipe.learning_rate)
    assert loop.fit(network, *splits, recipe, 0).best.accuracy > 0.7


def test_the_same_seed_gives_the_same_weights_bit_for_bit(splits: tuple[Split, Split]) -> None:
    one, same, other = (trained(splits, seed).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_the_network_that_is_kept_is_the_best_epochs(splits: tuple[Split, Split]) -> None:
    outcome = trained(splits)
    logits = loop.predict(outcome.network, splits[1].images)
    assert float((logits.argmax(1) == splits[1].labels).double().mean()) == outcome.best.accuracy
    assert outcome.best.accuracy == max(epoch.accuracy for epoch in outcome.epochs)


def test_ctrl_c_keeps_the_best_so_far(splits: tuple[Split, Split]) -> None:
    seen: list[Epoch] = []

    def press(epoch: int, step: int, _steps: int) -> None:
        if (epoch, step) == (3, 2):
            raise KeyboardInterrupt

    outcome = trained(splits, on_step=press, on_epoch=seen.append)
    assert outcome.interrupted
    assert outcome.epochs == tuple(seen)
    assert len(seen) == 2
    logits = loop.predict(outcome.network, splits[1].images)
    assert float((logits.argmax(1) == splits[1].labels).double().mean()) == max(epoch.accuracy for epoch in seen)


def test_ctrl_c_before_the_first_epoch_is_done_has_nothing_to_keep(splits: tuple[Split, Split]) -> None:
    def press(_epoch: int, _step: int, _steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(splits, on_step=press)


def test_steps_are_told_one_by_one(splits: tuple[Split, Split]) -> None:
    steps: list[tuple[int, int, int]] = []
    trained(splits, recipe=Recipe(epochs=2, batch_size=100), on_step=lambda *step: steps.append(step))
    assert steps == [(epoch, step, 4) for epoch in (1, 2) for step in (1, 2, 3, 4)]


def test_a_training_that_diverges_says_so(splits: tuple[Split, Split]) -> None:
    with pytest.raises(TrainingError, match="diverged: the loss is nan; use a lower learning rate"):
        trained(splits, recipe=Recipe(epochs=2, batch_size=32, learning_rate=1e25))


def test_nothing_to_train_on_is_an_error(splits: tuple[Split, Split]) -> None:
    empty = splits[0].take(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(TrainingError, match="nothing to train: 0 images, 120 to validate on, 4 epochs"):
        trained((empty, splits[1]))


def test_augmentation_by_nothing_changes_nothing(splits: tuple[Split, Split]) -> None:
    images = splits[0].images[:20]
    moved = augment(images, Augmentation(0, 0, 0, 0), torch.Generator().manual_seed(0))
    assert torch.equal(moved, images)


def test_augmentation_moves_each_image_its_own_way_and_by_the_seed(splits: tuple[Split, Split]) -> None:
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
    moved = augment(dot, Augmentation(0, 0, 0, shift=2.0), torch.Generator().manual_seed(0))
    rows, columns = (moved.flatten(3).amax(dim=(0, 2, 3)), moved.flatten(3).amax(dim=(0, 1, 3)))
    for line in (rows, columns):
        inked = line.nonzero().flatten()
        assert inked.min() in (11, 12)
        assert inked.max() in (16, 17)


def test_a_turn_turns_clockwise_and_back_alike() -> None:
    stroke = torch.zeros(400, 28, 28, 1, dtype=torch.uint8)
    stroke[:, 4:24, 14] = 255
    moved = augment(stroke, Augmentation(degrees=30, scale=0, shear=0, shift=0), torch.Generator().manual_seed(0))
    top = moved[:, 5, :, 0].double()  # [N, 28]
    offset = (top * torch.arange(28)).sum(1) / top.sum(1).clamp(min=1) - 14
    assert abs(float(offset[top.sum(1) > 0].mean())) < 0.7
    assert float(offset[top.sum(1) > 0].max()) > 3


def test_prediction_in_parts_is_prediction_at_once(splits: tuple[Split, Split]) -> None:
    network = model.build("digits", {}, 10).eval()
    images = splits[0].images[:50]
    assert torch.allclose(loop.predict(network, images, batch_size=7), loop.predict(network, images), atol=1e-5)
