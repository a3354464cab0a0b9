"""The description of a model file by `pigeonhole inspect`."""

from dataclasses import replace

import pytest

from pigeonhole.models.checkpoint import Checkpoint, describe, find
from pigeonhole.models.description import review_line, text
from pigeonhole.models.record import Calibration
from tests.messages import check_message


def shipped() -> Checkpoint:
    return describe(find("digits"))


def calibrated(**values: object) -> Checkpoint:
    return replace(shipped(), calibration=Calibration(**values))  # type: ignore[arg-type]


def test_the_share_of_marked_images_is_that_of_the_validation_images() -> None:
    check_message(review_line(shipped()), "0.8%", "47 of 5,999", "review score below 0.7962")


def test_without_marked_validation_images_the_share_follows_from_their_number() -> None:
    few = replace(shipped(), measured={"validation": {"images": 19, "reviews": 0}})
    check_message(review_line(few), "5.0%", "none of those 19")


@pytest.mark.parametrize("measured", [{}, {"validation": {}}, {"validation": 3}, {"validation": {"reviews": "x"}}])
def test_without_a_measured_share_the_review_budget_is_named(measured: dict[str, object]) -> None:
    unknown = replace(shipped(), measured=measured)
    check_message(review_line(unknown), "at most 1%", "training images", "review score below")
    check_message(review_line(replace(unknown, trained={})), "uncertain images", "review score below")


def test_for_a_model_without_a_logit_for_unknown_the_confidence_decides() -> None:
    check_message(review_line(calibrated(review_below=0.5)), "47 of 5,999", "confidence below 0.5000")
    check_message(review_line(calibrated()), "no image", "not calibrated")


def test_for_a_multi_label_model_the_distance_from_a_threshold_decides() -> None:
    near = calibrated(review_below=0.2, thresholds=(0.5,) * 10)
    check_message(review_line(near), "within 0.2000", "threshold")


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            {"epochs": 3, "mixing": 0.5},
            "recipe         epochs 3, mixing 0.5; else the default",
        ),
        ({}, None),
        ("foreign", None),
    ],
)
def test_the_changed_values_of_a_recipe_are_named(overrides: object, line: str | None) -> None:
    changed = replace(shipped(), trained={**shipped().trained, "overrides": overrides})
    lines = [each for each in text(changed, find("digits")).splitlines() if each.startswith("recipe ")]
    assert lines == ([line] if line else [])
