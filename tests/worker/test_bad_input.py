"""What a worker makes of input that is broken, hostile or too much for the memory: a row for each image."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worker.classifier import Classifier, Scores
from worker.contract.ledger import Ledger
from worker.contract.messages import Batch, Group, Prediction
from worker.contract.settings import Settings
from worker.tasks import Processor

TOO_MUCH = 2**60  # bytes; no machine has them


class Hungry(Classifier):
    """A network that needs more memory than there is for more than `most` images, and allocates it in earnest."""

    most = 0
    kind = "torch"
    sizes: list[int]

    def predict(self, pixels: "np.ndarray") -> Scores:
        self.sizes.append(len(pixels))
        if len(pixels) > self.most:
            if self.kind == "torch":
                torch.empty(TOO_MUCH, dtype=torch.uint8, device=self.device)
            else:
                np.empty(TOO_MUCH, np.uint8)
        return super().predict(pixels)


@pytest.fixture(params=["torch", "numpy"])
def hungry(request: pytest.FixtureRequest, classifier: Classifier) -> Hungry:
    network = Hungry(classifier.checkpoint, classifier.network, classifier.device)
    object.__setattr__(network, "sizes", [])  # a frozen dataclass
    object.__setattr__(network, "kind", request.param)
    return network


def rows_with(
    classifier: Classifier, settings: Settings, ledger: Ledger, root: Path, names: list[str]
) -> list[Prediction]:
    batch = Batch((Group("", "samples/", tuple(names)),))
    processor = Processor(replace(settings, image_root=str(root), chunk=16), classifier, ledger)
    return list(processor.classify(batch).predictions(batch))


@pytest.fixture
def names(root: Path) -> list[str]:
    """40 of the samples, the unreadable ones among them."""
    return sorted(file.name for file in (root / "samples").iterdir())[-40:]


@pytest.mark.parametrize("most", [1, 3, 8])
def test_a_chunk_too_large_for_the_memory_is_halved_until_it_fits(
    most: int,
    hungry: Hungry,
    classifier: Classifier,
    settings: Settings,
    ledger: Ledger,
    root: Path,
    names: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    object.__setattr__(hungry, "most", most)
    expected = rows_with(classifier, settings, ledger, root, names)
    with caplog.at_level(logging.WARNING):
        rows = rows_with(hungry, settings, ledger, root, names)
    assert any(row.error for row in expected)
    for row, other in zip(rows, expected, strict=True):
        assert (row.path, row.label, row.error) == (other.path, other.label, other.error)
        assert row.confidence == pytest.approx(other.confidence, abs=1e-5)
    assert max(hungry.sizes) == 16
    assert sum(size for size in hungry.sizes if size <= most) == sum(not row.error for row in rows), "each image once"
    assert "no memory for 16 images at once, trying 8; a smaller PIGEONHOLE_CHUNK saves that" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_an_image_that_alone_is_too_much_for_the_memory_gets_an_error_row(
    hungry: Hungry, settings: Settings, ledger: Ledger, root: Path, names: list[str]
) -> None:
    rows = rows_with(hungry, settings, ledger, root, names[:5])
    assert {row.error for row in rows} == {
        "internal: there is not enough memory to run the network on this image; fewer processes leave more"
    }
    assert sorted(hungry.sizes) == [1, 1, 1, 1, 1, 2, 2, 3, 5]
