"""Scores and review marks of the shipped classifier."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pigeonhole.errors import CheckpointError
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.limits import PPM, TOP
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.checkpoint import Calibration
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.runtimes.runtime import Runtime
from pigeonhole.models.scores import confidences, review_scores
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Location


@pytest.fixture
def pixels(classifier: Classifier, root: Path) -> np.ndarray:
    reader = ImageReader(str(root), classifier.checkpoint.preprocessing, 100_000, 1_000_000)
    names = sorted(file.name for file in (root / "samples").glob("*.png"))
    good = [name for name in names if name not in ("empty.png", "text.png") and "truncated" not in name]
    return np.stack([reader.pixels(Location("file", "samples/", name)) for name in good[:40]])


def test_the_scores_of_an_image_do_not_depend_on_its_batch(classifier: Classifier, pixels: np.ndarray) -> None:
    together = classifier.predict(pixels)
    alone = [classifier.predict(image[None]) for image in pixels]
    np.testing.assert_array_equal(together.best[:, 0], [scores.best[0, 0] for scores in alone])
    # The tolerance is ten millionths.
    np.testing.assert_allclose(together.ppm[:, 0], [scores.ppm[0, 0] for scores in alone], atol=10)


def test_the_top_classes_are_sorted_and_have_calibrated_probabilities(
    classifier: Classifier, pixels: np.ndarray
) -> None:
    scores = classifier.predict(pixels)
    assert scores.best.shape == scores.ppm.shape == (len(pixels), TOP)
    logits = torch.from_numpy(classifier.runtime.logits(pixels)) / classifier.checkpoint.calibration.temperature
    expected, order = torch.softmax(logits, dim=1).sort(dim=1, descending=True)
    np.testing.assert_array_equal(scores.best, order[:, :TOP].numpy())
    np.testing.assert_allclose(scores.ppm / PPM, expected[:, :TOP].numpy(), atol=2 / PPM)


def test_images_below_the_review_threshold_of_the_checkpoint_are_marked(
    classifier: Classifier, pixels: np.ndarray
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1), dtype=np.uint8)
    images = np.concatenate([pixels, noise])
    scores, calibration = classifier.predict(images), classifier.checkpoint.calibration
    logits = classifier.runtime.logits(images)
    scores_of_review, confidence = (
        (one(logits, calibration, 10) * PPM).round() for one in (review_scores, confidences)
    )
    np.testing.assert_array_equal(scores.review, scores_of_review < round(calibration.review_below * PPM))
    np.testing.assert_allclose(scores.ppm[:, 0], confidence, atol=2)
    assert scores.review.any()
    assert not scores.review.all()


def test_unknown_takes_its_share_of_the_probability_and_is_never_a_label(
    classifier: Classifier, pixels: np.ndarray
) -> None:
    about = replace(classifier.checkpoint, calibration=Calibration(1.0, 0.6, outlier=True))

    class WithUnknown(Runtime):
        def logits(self, pixels: np.ndarray) -> np.ndarray:
            logits = classifier.runtime.logits(pixels)  # [N, 11]
            return np.concatenate(
                [logits, np.logaddexp.reduce(logits, axis=1, keepdims=True)], axis=1
            )  # "unknown" has half of the probability

    with_unknown = Classifier(about, WithUnknown("f32", "cpu")).predict(pixels)
    without_unknown = replace(classifier, checkpoint=replace(about, calibration=Calibration(1.0, 0.6))).predict(pixels)
    np.testing.assert_array_equal(with_unknown.best, without_unknown.best)
    np.testing.assert_allclose(with_unknown.ppm, without_unknown.ppm / 2, atol=2)
    assert with_unknown.review.all(), "half of the probability is that of unknown"


def test_the_review_score_weights_the_probability_of_unknown(classifier: Classifier, pixels: np.ndarray) -> None:
    shares = torch.tensor([[0.97, 0.01, 0.02], [0.9, 0.1, 0.0]])
    heads = iter((shares, shares, shares))

    class FixedProbabilities(Runtime):
        def logits(self, pixels: np.ndarray) -> np.ndarray:
            return next(heads).log().numpy()

    def predicted(calibration: Calibration) -> tuple[list[int], list[bool]]:
        about = replace(classifier.checkpoint, classes=("0", "1"), calibration=calibration)
        scores = Classifier(about, FixedProbabilities("f32", "cpu")).predict(pixels[:2])
        return scores.ppm[:, 0].tolist(), list(map(bool, scores.review))

    # By confidence alone, the second is less certain; but 0.97 / (1 + 99 * 0.02) is 0.33.
    assert predicted(Calibration(1.0, 0.95, outlier=True)) == ([970_000, 900_000], [False, True])
    weighted = Calibration(1.0, 0.5, outlier=True, outlier_in_review=100.0)
    assert predicted(weighted) == ([970_000, 900_000], [True, False])
    # 0.97 / (1 - 0.99 * 0.02) is 0.989594.
    assert predicted(replace(weighted, outlier_in_confidence=0.01)) == ([989_594, 900_000], [True, False])


def test_the_identity_is_the_checkpoint_with_the_first_digits_of_its_digest(classifier: Classifier) -> None:
    assert classifier.identity == f"digits@{checkpoints.describe(checkpoints.find('digits')).digest[:12]}"


def test_a_checkpoint_with_more_classes_than_messages_can_store_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pigeonhole.models.classifier.MOST_CLASSES", 9)
    with pytest.raises(CheckpointError, match=r"10 classes, .*at most 9"):
        Classifier.load(checkpoints.find("digits"), Settings())
