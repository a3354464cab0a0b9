import math
from dataclasses import replace

import pytest
import torch

from pigeonhole.models.record import Calibration
from pigeonhole.models.scores import confidences, likeliest, review_scores
from training.evaluation.calibrate import (
    calibrate,
    expected_calibration_error,
    most_marked,
    negative_log_likelihood,
    reliability,
)


def overconfident(count: int = 4000, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return overconfident logits [N, 5], which are `scale` times too large, and labels [N]."""
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(count, 5, generator=generator) * 2
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator).flatten()
    return honest * scale, labels


def error(logits: torch.Tensor, labels: torch.Tensor, calibration: Calibration) -> float:
    confidence = torch.from_numpy(confidences(logits.numpy(), calibration, 5))
    bins = reliability(confidence, torch.from_numpy(likeliest(logits.numpy(), 5)) == labels)
    return expected_calibration_error(bins)


def test_the_temperature_undoes_overconfidence() -> None:
    logits, labels = overconfident(scale=3.0)
    found, plain = calibrate(logits, labels, 5), Calibration()
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert negative_log_likelihood(logits, labels, found) < negative_log_likelihood(logits, labels, plain)
    assert error(logits, labels, found) < 0.03 < error(logits, labels, plain)


@pytest.mark.parametrize("classes", [5, 4])
def test_no_other_temperature_has_a_lower_loss(classes: int) -> None:
    logits, labels = overconfident()
    best = calibrate(logits, labels % classes, classes)
    likeliest = negative_log_likelihood(logits, labels % classes, best)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        other = replace(best, temperature=best.temperature * factor)
        assert negative_log_likelihood(logits, labels % classes, other) >= likeliest


@pytest.mark.parametrize(
    ("images", "marked"), [(299, 0), (472, 0), (473, 1), (628, 2), (773, 3), (913, 4), (1049, 5), (2000, 12)]
)
def test_the_number_of_marked_images_follows_the_clopper_pearson_tables(images: int, marked: int) -> None:
    # At 95% confidence and 1%: the sample sizes of the usual tables for attribute sampling.
    assert most_marked(images, 0.01) == marked


def test_the_number_of_marked_images_matches_published_upper_limits() -> None:
    # The published upper limits of a two-sided 90% interval, 5% on either side: 3 of 30 is at most 23.85%.
    assert (most_marked(30, 0.2386), most_marked(30, 0.2384)) == (3, 2)
    assert [most_marked(100, budget) for budget in (0.0, 0.01, 1.0)] == [0, 0, 100]
    assert most_marked(1_000_000, 0.01) == pytest.approx(10_000 - 1.645 * math.sqrt(9_900), abs=3)


@pytest.mark.parametrize(("budget", "marked"), [(0.0, 0), (0.01, 4), (0.1, 84), (1.0, 999)])
def test_the_review_budget_limits_the_number_of_marked_images(budget: float, marked: int) -> None:
    logits, labels = overconfident(1000)
    calibration = calibrate(logits, labels, 5, budget)
    assert (confidences(logits.numpy(), calibration, 5) < calibration.review_below).sum() == marked
    assert most_marked(1000, budget) in (marked, marked + 1)


def test_a_few_correct_images_do_not_give_full_confidence() -> None:
    # Without a prior the temperature would be 0, and every confidence 100%.
    found = [calibrate(torch.eye(2).repeat(pairs, 1) * 3, torch.arange(2).repeat(pairs), 2) for pairs in (3, 300)]
    assert 0.4 < found[0].temperature < 0.9
    assert 0.1 < found[1].temperature < 0.4
    assert all(0.9 < each.review_below <= 1 for each in found)


def test_unknown_takes_confidence_from_the_classes_and_is_never_the_label() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 5.0]])
    assert likeliest(logits.numpy(), 2).tolist() == [0, 1]
    whole = [math.exp(3) + math.e + 1, 1 + math.e + math.exp(5)]
    plain, rare = Calibration(outlier=True), Calibration(outlier=True, outlier_in_confidence=0.01)
    assert confidences(logits.numpy(), plain, 2).tolist() == pytest.approx([math.exp(3) / whole[0], math.e / whole[1]])
    assert negative_log_likelihood(logits, torch.tensor([0, 1]), plain) == pytest.approx(
        (math.log(whole[0]) - 3 + math.log(whole[1]) - 1) / 2
    )
    # With a smaller weight, "unknown" takes less.
    whole = [math.exp(3) + math.e + 0.01, 1 + math.e + 0.01 * math.exp(5)]
    assert confidences(logits.numpy(), rare, 2).tolist() == pytest.approx([math.exp(3) / whole[0], math.e / whole[1]])
    assert negative_log_likelihood(logits, torch.tensor([0, 1]), rare) == pytest.approx(
        (math.log(whole[0]) - 3 + math.log(whole[1]) - 1) / 2
    )


def test_unknown_has_more_weight_in_the_review_score() -> None:
    # The first image leaves 0.02 for "unknown", the second for the other class.
    logits = torch.tensor([[0.97, 0.01, 0.02], [0.95, 0.05 - 1e-9, 1e-9]]).log()
    found = Calibration(outlier=True, outlier_in_confidence=0.01, outlier_in_review=100.0)
    assert confidences(logits.numpy(), found, 2).tolist() == pytest.approx([0.97 / 0.9802, 0.95], abs=1e-6)
    assert review_scores(logits.numpy(), found, 2).tolist() == pytest.approx([0.97 / 2.98, 0.95], abs=1e-6)
    assert review_scores(logits.numpy(), Calibration(outlier=True), 2).tolist() == pytest.approx([0.97, 0.95])
    assert review_scores(logits[:, :2].numpy(), Calibration(), 2).tolist() == pytest.approx([0.97 / 0.98, 0.95])


def test_the_review_budget_also_holds_with_unknown() -> None:
    logits, labels = overconfident(1000)
    found = calibrate(logits, labels % 4, 4, 0.1)
    assert (found.outlier, found.outlier_in_confidence, found.outlier_in_review) == (True, 0.0001, 30.0)
    assert (review_scores(logits.numpy(), found, 4) < found.review_below).sum() == most_marked(1000, 0.1)
    alone = calibrate(logits, labels, 5)
    assert (alone.outlier, alone.outlier_in_confidence, alone.outlier_in_review) == (False, 1.0, 1.0)


def test_with_one_image_in_each_bin_the_error_is_the_mean_distance() -> None:
    bins = reliability(torch.tensor([0.75, 0.5]), torch.tensor([True, True]), bins=2)
    assert [(part.images, part.confidence, part.accuracy) for part in bins] == [(1, 0.5, 1.0), (1, 0.75, 1.0)]
    assert expected_calibration_error(bins) == pytest.approx((0.5 + 0.25) / 2)
    assert len(reliability(torch.tensor([0.5]), torch.tensor([True]))) == 1
