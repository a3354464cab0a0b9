"""A runtime is added with one class and one line."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.runtimes.choice import Choice
from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime
from pigeonhole.models.runtimes.registry import RUNTIMES, load


class Negated(OnnxRuntime):
    """Runs a network in ONNX Runtime, and negates its logits."""

    name = "negated"

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runtime.logits`."""
        return -super().logits(pixels)


def test_a_new_runtime_runs_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, Negated.name, f"{__name__}:Negated")
    content = checkpoint.read(checkpoint.find("digits"))
    usual, negated = (load(content, Choice(name)) for name in ("onnxruntime", Negated.name))
    assert negated.kind == "negated/f32"
    pixels = np.random.default_rng(7).integers(0, 256, (3, 28, 28, 1), np.uint8)
    assert np.array_equal(negated.logits(pixels), -usual.logits(pixels))
    answers = Classifier(content.checkpoint, negated).predict(pixels)
    classes = len(content.checkpoint.classes)
    assert np.array_equal(answers.best[:, 0], usual.logits(pixels)[:, :classes].argmin(axis=1))
