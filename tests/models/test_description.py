"""What `inspect` says of a model file, in words."""

from dataclasses import replace

import pytest

from pigeonhole.models.checkpoint import Checkpoint, describe, find
from pigeonhole.models.description import review_line, text
from pigeonhole.models.record import Calibration


def shipped() -> Checkpoint:
    return describe(find("digits"))


def calibrated(**values: object) -> Checkpoint:
    return replace(shipped(), calibration=Calibration(**values))  # type: ignore[arg-type]


def test_the_share_of_images_that_are_marked_is_that_of_the_validation_images() -> None:
    assert review_line(shipped()) == (
        "about 0.8% of images like the validation images are marked, 47 of 5,999 (review score below 0.7962)"
    )


def test_if_no_validation_image_is_marked_the_share_of_new_ones_comes_from_their_number() -> None:
    few = replace(shipped(), measured={"validation": {"images": 19, "reviews": 0}})
    assert review_line(few).startswith(
        "about 5.0% of images like the validation images are marked, but none of those 19"
    )


@pytest.mark.parametrize("measured", [{}, {"validation": {}}, {"validation": 3}, {"validation": {"reviews": "x"}}])
def test_without_a_measured_share_the_budget_is_named_if_there_is_one(measured: dict[str, object]) -> None:
    unknown = replace(shipped(), measured=measured)
    assert review_line(unknown).startswith("at most 1% of images like the training images are marked (review score")
    assert review_line(replace(unknown, trained={})).startswith("uncertain images are marked (review score below")


def test_of_a_model_without_a_logit_for_unknown_the_confidence_decides() -> None:
    assert review_line(calibrated(review_below=0.5)).endswith("47 of 5,999 (confidence below 0.5000)")
    assert review_line(calibrated()) == "no image is marked, because the model is not calibrated"


def test_of_a_multi_label_model_the_distance_from_a_threshold_decides() -> None:
    near = calibrated(review_below=0.2, thresholds=(0.5,) * 10)
    assert review_line(near) == "images with a probability within 0.2000 of its threshold are marked"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            {"epochs": 3, "mixing": 0.5},
            "recipe         epochs 3, mixing 0.5; else the default",
        ),
        ({}, None),
        ("theirs", None),
    ],
)
def test_the_values_of_a_recipe_that_are_not_the_default_are_named(overrides: object, line: str | None) -> None:
    changed = replace(shipped(), trained={**shipped().trained, "overrides": overrides})
    lines = [each for each in text(changed, find("digits")).splitlines() if each.startswith("recipe ")]
    assert lines == ([line] if line else [])
