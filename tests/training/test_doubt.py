"""The comparison of methods of doubt, on few images; what it comes to on real ones is in docs/training.md."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.doubt import Method, Said, markdown, methods, rows, said
from training.checkpoint import describe, find, load


@pytest.fixture(scope="module")
def compared() -> list[Method]:
    """The methods, for a network of ten classes whose features are 20 to one class, and nothing to the others."""
    labels = torch.arange(400) % 10
    generator = torch.Generator().manual_seed(0)
    features = 20 * torch.eye(10)[labels] + torch.randn(400, 10, generator=generator)
    return methods(describe(find("digits")), Said(features, torch.zeros(400, 11)), labels)


@pytest.mark.parametrize("place", range(8))
def test_each_doubts_what_is_like_no_class_more_than_what_is_like_one(compared: list[Method], place: int) -> None:
    features = torch.stack([20 * torch.eye(10)[3], torch.full((10,), 5.0)])
    logits = torch.zeros(2, 11)
    logits[0, 3], logits[1, 10] = 9.0, 3.0
    logits[1, 3] = 2.0
    of_a_class, strange = compared[place].doubt(Said(features, logits)).tolist()
    assert strange > of_a_class, compared[place].name


def test_a_network_is_asked_for_what_its_last_layer_takes() -> None:
    _about, network = load(find("digits"))
    images = torch.randint(0, 256, (3, 28, 28, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = said(network, images)
    head = network.get_submodule("head")
    with torch.inference_mode():
        torch.testing.assert_close(head(found.features), found.logits)


def test_the_table_has_a_row_for_each_method_and_blank_pictures_are_caught(tiny_mnist: Path, tmp_path: Path) -> None:
    lot = np.random.default_rng(0)
    for kind, pixels in (("noise", lot.integers(0, 256, (3, 28, 28), np.uint8)), ("paper", np.full((2, 28, 28), 255))):
        (tmp_path / kind).mkdir()
        for number, one in enumerate(pixels):
            Image.fromarray(one.astype(np.uint8)).save(tmp_path / kind / f"{number}.png")
    head, *body = rows(find("digits"), tiny_mnist, tmp_path)
    assert head == ["method", "noise", "paper", "wrong and unmarked", "time"]
    assert len(body) == len({row[0] for row in body}) == 9
    assert {row[2] for row in body} == {"100.0%"}
    lines = markdown([head, *body]).splitlines()
    assert lines[0] == "| method | noise | paper | wrong and unmarked | time |"
    assert (lines[1].count("---:"), len(lines)) == (4, 11)
