"""Out-of-distribution images are made from the training images of any data set."""

import pytest
import torch

from pigeonhole.errors import DatasetError
from training.datasets.splits import Split
from training.synthetic import out_of_distribution


def discs(height: int = 20, width: int = 27, channels: int = 3) -> Split:
    """Return bright discs of two colours on dark backgrounds."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    disc = ((x - width / 2) ** 2 + (y - height / 2) ** 2 < 50)[None, :, :, None]
    colours = torch.randint(0, 256, (40, 1, 1, channels), generator=torch.Generator().manual_seed(0))
    return Split(torch.where(disc, colours, colours // 4).to(torch.uint8), torch.arange(40) % 2)


@pytest.mark.parametrize("size", [(20, 27, 3), (28, 28, 1), (3, 5, 3)])
def test_the_given_number_is_made_from_images_of_any_size(size: tuple[int, int, int]) -> None:
    made = out_of_distribution.make(discs(*size), 2, 50, 0)
    assert made.images.shape == (50, *size)
    assert made.images.dtype == torch.uint8
    assert made.labels.tolist() == [2] * 50


def test_the_same_seed_makes_the_same_images_and_another_seed_makes_others() -> None:
    first, again, other = (out_of_distribution.make(discs(), 2, 60, seed).images for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_image_equals_a_training_image_and_few_are_duplicates() -> None:
    known = {image.numpy().tobytes() for image in discs().images}
    made = [image.numpy().tobytes() for image in out_of_distribution.make(discs(), 2, 300, 1).images]
    assert not known & set(made)
    assert len(set(made)) > 250


def test_a_shuffled_image_keeps_its_pixels_and_every_square_moves() -> None:
    image = torch.arange(144.0).reshape(1, 1, 12, 12).expand(30, 1, 12, 12)
    for seed in range(4):
        made = out_of_distribution._shuffled(image, torch.Generator().manual_seed(seed))
        assert torch.equal(made.flatten(1).sort(1).values, image.flatten(1).sort(1).values)
        assert not (made == image).any()


def test_an_empty_training_split_is_an_error() -> None:
    nothing = Split(torch.zeros(0, 8, 8, 3, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(DatasetError, match="no training images"):
        out_of_distribution.make(nothing, 2, 10, 0)
