"""Scores of multi-label models: a sigmoid and a threshold for each class."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pigeonhole.errors import CheckpointError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.limits import PPM
from pigeonhole.models import scores
from pigeonhole.models.record import Calibration, Checkpoint
from pigeonhole.models.scores import Labels, Scores, confidences, marked, review_scores, score

CLASSES = 4
LOGITS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.just(CLASSES)), elements=st.floats(-40, 40, width=32)
)
THRESHOLDS = st.lists(st.floats(0, 1), min_size=CLASSES, max_size=CLASSES).map(tuple)
THREE = np.array([[3.0, -3.0, 0.5, -9.0], [-5.0, -5.0, -5.0, -5.0], [9.0, 9.0, 9.0, 9.0]], np.float32)
HALF = Calibration(thresholds=(0.5, 0.5, 0.5, 0.5))


def labels_of(found: Scores) -> list[list[tuple[int, int]]]:
    """Return the labels of each image, as pairs of class and probability in millionths."""
    assert found.labels is not None
    counts, best, ppm = (column.tolist() for column in found.labels)
    pairs = iter(zip(best, ppm, strict=True))
    return [[next(pairs) for _ in range(count)] for count in counts]


def sigmoid(logit: float) -> float:
    """Compute the sigmoid with `math`, in the form that does not overflow."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


@given(LOGITS, THRESHOLDS, st.floats(0.1, 10), st.integers(1, 6), st.floats(0, 1))
def test_the_labels_are_those_of_a_reference_in_plain_python(
    logits: NDArray[np.float32], thresholds: tuple[float, ...], temperature: float, top: int, below: float
) -> None:
    found = score(logits, Calibration(temperature, below, thresholds=thresholds), CLASSES, top)
    for at, image in enumerate(logits.tolist()):
        ppm = [round(sigmoid(logit / temperature) * PPM) for logit in image]
        distances = [parts - round(limit * PPM) for parts, limit in zip(ppm, thresholds, strict=True)]
        if any(abs(distance) <= 1 for distance in distances):
            continue  # rounding may differ
        assert found.best.shape == (len(logits), min(top, CLASSES))
        np.testing.assert_allclose(found.ppm[at], sorted(ppm, reverse=True)[:top], atol=1)
        own = labels_of(found)[at]
        assert sorted(index for index, _ in own) == [index for index, far in enumerate(distances) if far >= 0]
        assert [parts for _, parts in own] == sorted((parts for _, parts in own), reverse=True)
        assert all(abs(parts - ppm[index]) <= 1 for index, parts in own)
        nearest = min(map(abs, distances))
        if abs(nearest - round(below * PPM)) > 1:
            assert bool(found.review[at]) == (nearest < round(below * PPM))


def test_an_image_has_several_labels_one_or_none() -> None:
    found = score(THREE, HALF, CLASSES, 2)
    assert [[index for index, _ in own] for own in labels_of(found)] == [[0, 2], [], [0, 1, 2, 3]]
    assert found.best.tolist() == [[0, 2], [0, 1], [0, 1]]
    assert not found.review.any(), "no image is marked unless the calibration sets review_below"
    each = score(THREE, replace(HALF, thresholds=(0.99, 0.0, 0.5, 0.5)), CLASSES, 2)
    assert [[index for index, _ in own] for own in labels_of(each)] == [[2, 1], [1], [0, 1, 2, 3]]


def test_a_probability_near_its_threshold_is_marked_for_review() -> None:
    near = replace(HALF, review_below=0.2)  # the sigmoid of 0.5 is 0.62
    assert score(THREE, near, CLASSES, 1).review.tolist() == [True, False, False]
    assert (review_scores(THREE, near, CLASSES) < 0.2).tolist() == [True, False, False]
    np.testing.assert_allclose(confidences(THREE, near, CLASSES), [sigmoid(3), sigmoid(-5), sigmoid(9)])


def test_review_compares_rounded_scores() -> None:
    found = np.array([0.9442999, 0.9443001, 0.944301, 0.9442989])
    assert marked(found, 0.9443002).tolist() == [False, False, False, True]


def test_no_image_has_more_labels_than_results_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "MOST_LABELS", 2)
    found = score(THREE, HALF, CLASSES, 1)
    assert [[index for index, _ in own] for own in labels_of(found)] == [[0, 2], [], [0, 1]]


def test_no_images_have_no_labels() -> None:
    found = score(np.zeros((0, CLASSES), np.float32), HALF, CLASSES, 3)
    assert isinstance(found.labels, Labels)
    assert [len(column) for column in found.labels] == [0, 0, 0]


def record(calibration: Calibration) -> Checkpoint:
    return Checkpoint("m", "digits", {}, ("a", "b", "c", "d"), Preprocessing("stretch", 8, 8, 1), calibration)


def test_only_the_record_of_a_multi_label_model_has_thresholds() -> None:
    several = replace(record(HALF), digest="0" * 64)
    assert Checkpoint.from_json(several.to_json()) == several
    assert several.deciding()["calibration"]["thresholds"] == [0.5] * 4
    assert "thresholds" not in record(Calibration()).deciding()["calibration"], (
        "the digests of older models do not change"
    )


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ((0.5, 1.5, 0.5, 0.5), "from 0 to 1, not 1.5"),
        (("0.5",) * 4, "from 0 to 1, not '0.5'"),
        ((True,) * 4, "from 0 to 1, not True"),
        (0.5, "thresholds .*list of numbers, not 0.5"),
        ((0.5, 0.5), "2 thresholds for 4 classes"),
    ],
)
def test_invalid_thresholds_are_refused(thresholds: tuple[float, ...], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        record(Calibration(thresholds=thresholds))


def test_a_multi_label_model_has_no_logit_for_unknown() -> None:
    with pytest.raises(CheckpointError, match='"unknown"'):
        replace(HALF, outlier=True)
