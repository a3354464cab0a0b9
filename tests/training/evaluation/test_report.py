import json
import math

import pytest
import torch

from pigeonhole.models import checkpoint
from pigeonhole.models.record import Calibration
from training.evaluation import outliers
from training.evaluation.measure import Evaluated, measure, wilson
from training.report.text import kinds, text


def test_the_wilson_interval_matches_published_values_and_stays_within_0_and_1() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # R. Newcombe, 1998, table I
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(29, 29)[1] == 1.0


# Three classes; the third image is wrong with low confidence, the fourth with high confidence.
LOGITS = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0.2, 0.1, 0], [0, 9, 0], [0, 0, 9]])
LABELS = torch.tensor([0, 1, 1, 2, 2])


def small(classes: tuple[str, ...] = ("a", "b", "c"), temperature: float = 1.0) -> Evaluated:
    report = measure(LOGITS, LABELS, classes, Calibration(temperature, 0.6))
    described = checkpoint.describe(checkpoint.find("digits"))
    images = torch.arange(5 * 16, dtype=torch.uint8).reshape(5, 4, 4, 1)
    return Evaluated(described, "five images", report, images, ("v", "w", "x", "y", "z"))


def test_the_report_counts_right_wrong_marked_and_missed_images() -> None:
    figures = small().report
    assert figures.confusion == ((1, 0, 0), (1, 1, 0), (0, 1, 1))
    assert (figures.images, figures.right, figures.reviews, figures.wrong_unmarked) == (5, 3, 1, 1)
    assert figures.accuracy == 0.6
    assert figures.to_json()["errors"] == 2
    likelihoods = [math.log(1 + 2 * math.exp(-9))] * 3 + [math.log(1 + 2 * math.exp(-9)) + 9]
    doubtful = math.log(math.exp(0.2) + math.exp(0.1) + 1) - 0.1
    assert figures.nll == pytest.approx((sum(likelihoods) + doubtful) / 5, rel=1e-6)


def test_calibration_is_compared_with_the_uncalibrated_network() -> None:
    figures = small(temperature=4.0).report
    assert (figures.before.nll, figures.before.ece) == (small().report.nll, small().report.ece)
    assert figures.nll < figures.before.nll
    assert figures.to_json()["before_calibration"] == {"nll": figures.before.nll, "ece": figures.before.ece}


def test_mistakes_are_sorted_by_confidence() -> None:
    figures = small().report
    assert (figures.worst(9), figures.worst(1)) == ([3, 2], [3])
    assert figures.confused(9) == [("b", "a", 1), ("c", "b", 1)]


def test_the_text_report_has_figures_confusion_matrix_and_worst_mistakes() -> None:
    assert text(small()) == (
        "60.00% right of 5 images (95% interval 23.07 to 88.24%)\n"
        "wrong: 2; marked for review: 1 (20.00%), wrong among the 4 others: 1\n"
        "negative log-likelihood 2.0206 (before calibration 2.0206), "
        "expected calibration error 27.35% (before 27.35%)\n"
        "\n"
        "true  read as\n"
        "       a  b  c\n"
        "a      1  ·  ·\n"
        "b      1  1  ·\n"
        "c      ·  1  1\n"
        "\n"
        "The worst mistakes, the most confident first:\n"
        " 99.98%  c read as b  y\n"
        " 36.72%  b read as a  x  (marked for review)"
    )


def test_columns_of_wide_characters_are_aligned() -> None:
    lines = text(small(("猫", "いぬ", "c"))).splitlines()
    assert lines[5:9] == [
        "        猫 いぬ    c",
        "猫       1    ·    ·",
        "いぬ     1    1    ·",
        "c        ·    1    1",
    ]


def test_a_matrix_that_is_too_wide_is_replaced_by_the_most_confused_classes() -> None:
    lines = text(small(tuple(letter * 60 for letter in "abc"))).splitlines()
    assert lines[4:7] == ["Most often confused, of 3 classes:", f"      1  {'b' * 60} read as {'a' * 60}", lines[6]]


def test_the_report_as_json_is_complete() -> None:
    values = json.loads(json.dumps(small().to_json()))
    assert values["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert [mistake["image"] for mistake in values["mistakes"]] == ["y", "x"]
    assert values["mistakes"][1] == {
        "image": "x",
        "truth": "b",
        "given": "a",
        "confidence": pytest.approx(0.3672, abs=1e-4),
        "review": True,
    }
    assert sum(part["images"] for part in values["reliability"]) == 5


def test_outliers_count_as_caught_if_they_are_marked_or_blank() -> None:
    described = checkpoint.describe(checkpoint.find("digits"))
    confident, uncertain = [30.0, *[0.0] * 9], [1.0, 1.0, *[0.0] * 8]
    found = outliers.measure(
        torch.tensor([confident, uncertain, uncertain, confident, uncertain]),
        torch.tensor([0, 0, 0, 1, 1]),
        "abcd",
        ["a", "c"],
        described,
    )
    assert [(kind.name, kind.images, kind.marked, kind.blank, kind.caught) for kind in found] == [
        ("a", 4, 2, 1, 3),
        ("b", 2, 1, 0, 1),
        ("c", 1, 0, 1, 1),
    ]
    assert kinds(found) == (
        "kind  images  marked  blank  caught\n"
        "a          4       2      1   75.0%\n"
        "b          2       1      0   50.0%\n"
        "c          1       0      1  100.0%"
    )
