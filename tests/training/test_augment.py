"""Augmentation, mixing, class weights, and the test for mirroring."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch

from training.datasets import mirror
from training.datasets.splits import Split
from training.loop.steps import balanced
from training.recipes.augment import Augmentation, augment
from training.recipes.mixing import mix
from training.recipes.recipe import Recipe

IDENTITY = Augmentation(degrees=0, scale=0, shear=0, shift=0)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 64, height: int = 20, width: int = 24, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, height, width, channels), dtype=torch.uint8, generator=rng(1))


def augmented(**values: object) -> torch.Tensor:
    return augment(images(), Augmentation(**{**IDENTITY.to_json(), **values}), rng())


@pytest.mark.parametrize("values", [{"flip": True}, {"warp": 2.0}, {"colour": 0.4}, {"erasing": 0.5}])
def test_the_same_seed_gives_the_same_images_and_another_seed_gives_others(values: dict[str, object]) -> None:
    kind = Augmentation(**{**IDENTITY.to_json(), **values})
    assert torch.equal(augmented(**values), augmented(**values))
    assert not torch.equal(augmented(**values), augment(images(), kind, rng(1)))
    assert not torch.equal(augmented(**values), images())
    assert augmented(**values).shape == images().shape
    assert augment(images(channels=1), kind, rng()).shape == (64, 20, 24, 1)


def test_about_half_of_the_images_are_mirrored_and_the_others_are_unchanged() -> None:
    found, whole = augmented(flip=True), images()
    mirrored = (found == whole.flip(2)).flatten(1).all(1)
    stayed = (found == whole).flatten(1).all(1)
    assert (mirrored ^ stayed).all()
    assert 20 < int(mirrored.sum()) < 44


def test_pixels_from_outside_the_image_are_black_or_the_nearest_pixel() -> None:
    white = torch.full((32, 16, 16, 1), 255, dtype=torch.uint8)
    assert augment(white, Augmentation(shift=6), rng()).min() == 0
    assert augment(white, Augmentation(shift=6, outside="border"), rng()).min() == 255


def test_all_pixels_of_an_image_change_colour_alike() -> None:
    grey = torch.full((64, 8, 8, 3), 100, dtype=torch.uint8)
    found = augment(grey, Augmentation(**{**IDENTITY.to_json(), "colour": 0.5}), rng())
    assert (found == found[:, :1, :1]).all(), "the pixels of an image change alike"
    assert found.float().std(0).min() > 10, "images change differently"
    assert (found.float().std(3) > 1).any(), "channels change independently"


def test_a_part_of_each_image_is_erased() -> None:
    black = torch.zeros(200, 32, 32, 1, dtype=torch.uint8)
    share = augment(black, Augmentation(**{**IDENTITY.to_json(), "erasing": 0.5}), rng()).gt(0).float().mean((1, 2, 3))
    assert share.max() <= 0.25
    assert 0.03 < share.mean() < 0.07


def test_a_mixed_image_has_the_labels_of_both_images() -> None:
    pixels = torch.arange(50, dtype=torch.uint8).reshape(50, 1, 1, 1).expand(50, 16, 16, 3)
    mixed = mix(Split(pixels, torch.arange(50)), 0.5, rng())
    shown = (mixed.images[..., 0] == mixed.others.reshape(50, 1, 1)).float().mean((1, 2))
    untouched = mixed.pasted == 0
    assert torch.allclose(shown[~untouched], mixed.pasted[~untouched])
    assert (mixed.images[untouched] == pixels[untouched]).all()
    assert 10 < int(untouched.sum()) < 40
    assert torch.equal(mix(Split(pixels, torch.arange(50)), 0.5, rng()).images, mixed.images)


def test_rare_classes_weigh_more_and_the_mean_weight_is_one() -> None:
    counts = torch.tensor([100, 25, 0])
    even = balanced(counts, 1.0) * counts
    assert even[0] == pytest.approx(even[1])
    half = balanced(counts, 0.5)
    assert float(half[1] / half[0]) == pytest.approx(2.0)
    assert float((half * counts).sum()) == pytest.approx(125)
    assert half[2] == 0


def test_newer_values_are_recorded_only_if_they_change_something() -> None:
    assert set(Recipe().to_json()["augmentation"]) == {"degrees", "scale", "shear", "shift"}
    assert not {"augmentation_decay", "mixing", "balance"} & set(Recipe().to_json())
    assert Recipe(mixing=0.5, augmentation=Augmentation(flip=True)).to_json()["augmentation"]["flip"] is True
    assert Recipe(mixing=0.5).to_json() == json.loads(json.dumps(Recipe(mixing=0.5).to_json()))


def test_a_scaled_augmentation_changes_less_and_scaled_by_zero_nothing() -> None:
    values = Augmentation(degrees=20.0, flip=True, warp=1.0, outside="border", colour=0.4, erasing=0.5)
    half = values.scaled(0.5)
    assert (half.degrees, half.shift, half.warp, half.colour, half.erasing) == (10.0, 1.0, 0.5, 0.2, 0.25)
    assert (half.flip, half.outside) == (True, "border")
    identity = replace(values, flip=False).scaled(0.0)
    assert torch.equal(augment(images(8, 28, 28, 3), identity, rng()), images(8, 28, 28, 3))


def test_the_default_augmentation_gives_the_same_images_as_in_0_2_0() -> None:
    found = augment(images(8, 28, 28, 1), Augmentation(), rng())
    assert hashlib.sha256(found.numpy().tobytes()).hexdigest()[:12] == "b2cb86662ed8"


def slopes(mirrored_share: float) -> Split:
    """Return pictures of two classes, brighter on the left; the share `mirrored_share` of them is mirrored."""
    slope = torch.linspace(160, 90, 24).reshape(1, 1, 24, 1)
    noise = torch.randint(-60, 60, (200, 20, 24, 3), generator=rng(2))
    pixels = (slope + noise).to(torch.uint8)
    some = torch.rand(200, generator=rng(3)) < mirrored_share
    pixels[some] = pixels[some].flip(2)
    return Split(pixels, torch.arange(200) % 2)


def test_pictures_that_all_face_one_way_are_distinguishable_from_their_mirror_images() -> None:
    assert mirror.distinguishable(slopes(0.0)) == 1.0
    assert mirror.distinguishable(slopes(1.0)) == 1.0
    assert 0.35 < mirror.distinguishable(slopes(0.5)) < mirror.THRESHOLD
    assert mirror.distinguishable(slopes(0.0).take(torch.tensor([0]))) == 0.0, "one picture alone cannot be compared"
