"""A kind of data set is one class and one line in the registry."""

import json
from pathlib import Path

import pytest
import torch

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.checkpoint import describe
from tests.training.datasets.test_folder import run
from training.datasets import registry
from training.datasets.data_set import DataSet, LabelledImages, ReadOptions, TrainingData
from training.datasets.splits import Split, digest


def drawn(preprocessing: Preprocessing, count: int, seed: int) -> Split:
    """Return dark and bright images in turn."""
    shape = (count, preprocessing.height, preprocessing.width, preprocessing.channels)
    noise = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(count) % 2
    return Split((noise + 150 * labels.reshape(-1, 1, 1, 1)).to(torch.uint8), labels)


class Shades(DataSet):
    """`shades:NAME`: generated images, 40 for training, 10 for validation and 20 for the test."""

    scheme = "shades"
    network = "residual-small"
    classes = ("dark", "bright")

    def read(self, options: ReadOptions) -> TrainingData:
        """Return all images."""
        preprocessing = options.preprocessing or Preprocessing("stretch", 16, 16, 1)
        training, test = drawn(preprocessing, 40, options.seed), self.labelled(preprocessing)
        return TrainingData(
            data_set=self,
            preprocessing=preprocessing,
            training=training,
            validation=drawn(preprocessing, 10, options.seed + 1),
            test=test.split,
            source=test.source,
            names=test.names,
            digest=digest(training),
        )

    def labelled(self, preprocessing: Preprocessing) -> LabelledImages:
        """Return the test images."""
        split = drawn(preprocessing, 20, 1000)
        return LabelledImages("generated shades", split, tuple(f"shade {index}" for index in range(len(split))))


def test_a_new_kind_of_data_set_can_be_trained_on_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.KINDS, "shades", f"{__name__}:Shades")
    path = tmp_path / "shades.safetensors"
    result = run("train", "--dataset", "shades:two", "-o", path, "--epochs", "1", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "residual-small on shades:two" in result.stderr
    described = describe(path)
    assert (described.network, described.classes) == ("residual-small", ("dark", "bright"))
    assert described.trained["dataset"] == f"shades:{Path.cwd() / 'two'}"
    assert described.measured["test"]["images"] == 20
    result = run("evaluate", path, "--dataset", "shades:two", "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["source"] == "generated shades"
    measured = described.measured["test"]
    for key in ("images", "errors", "accuracy", "reviews", "wrong_unmarked"):
        assert values[key] == measured[key]
    assert values["nll"] == pytest.approx(measured["nll"], abs=1e-4), "evaluate uses another runtime"
    assert "did you mean shades?" in run("evaluate", path, "--dataset", "shade:two").stderr
