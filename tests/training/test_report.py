import math

import pytest
import torch

from training import calibrate, report
from training.calibrate import confidences, expected_calibration_error, negative_log_likelihood
from training.record import Calibration


def overconfident(count: int = 4000, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are `scale` times too large for how often they are right: [N, 5] and labels [N]."""
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(count, 5, generator=generator) * 2
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator).flatten()
    return honest * scale, labels


def test_the_temperature_undoes_overconfidence() -> None:
    logits, labels = overconfident(scale=3.0)
    temperature = calibrate.calibrate(logits, labels).temperature
    assert temperature == pytest.approx(3.0, rel=0.1)
    assert negative_log_likelihood(logits, labels, temperature) < negative_log_likelihood(logits, labels, 1.0)
    better = expected_calibration_error(logits, labels, temperature)
    assert better < 0.03 < expected_calibration_error(logits, labels, 1.0)


def test_no_other_temperature_is_likelier() -> None:
    logits, labels = overconfident()
    best = calibrate.calibrate(logits, labels).temperature
    likeliest = negative_log_likelihood(logits, labels, best)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        assert negative_log_likelihood(logits, labels, best * factor) >= likeliest


@pytest.mark.parametrize("budget", [0.0, 0.01, 0.1])
def test_no_more_than_the_budget_is_marked_for_review_and_hardly_less(budget: float) -> None:
    logits, labels = overconfident(1000)
    calibration = calibrate.calibrate(logits, labels, budget)
    marked = (confidences(logits, calibration.temperature) < calibration.review_below).sum()
    assert marked == round(budget * 1000)


def test_a_network_that_is_always_sure_and_right_is_calibrated_within_limits() -> None:
    labels = torch.arange(10)
    calibration = calibrate.calibrate(torch.eye(10) * 100, labels)
    assert 0 < calibration.temperature < 100
    assert 0 <= calibration.review_below <= 1


def test_the_wilson_interval_is_the_published_one_and_never_leaves_0_to_1() -> None:
    assert report.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # R. Newcombe, 1998, table I
    assert report.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert report.wilson(29, 29)[1] == 1.0


def small() -> report.Report:
    # Three classes; the third image is wrong and doubtful, the fourth wrong and sure.
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0.2, 0.1, 0], [0, 9, 0], [0, 0, 9]])
    labels = torch.tensor([0, 1, 1, 2, 2])
    return report.measure(logits, labels, ("a", "b", "c"), Calibration(1.0, 0.6))


def test_the_report_counts_what_is_right_wrong_marked_and_missed() -> None:
    figures = small()
    assert figures.confusion == ((1, 0, 0), (1, 1, 0), (0, 1, 1))
    assert (figures.images, figures.right, figures.reviews, figures.wrong_unmarked) == (5, 3, 1, 1)
    assert figures.accuracy == 0.6
    assert figures.to_json()["errors"] == 2
    likelihoods = [math.log(1 + 2 * math.exp(-9))] * 3 + [math.log(1 + 2 * math.exp(-9)) + 9]
    doubtful = math.log(math.exp(0.2) + math.exp(0.1) + 1) - 0.1
    assert figures.nll == pytest.approx((sum(likelihoods) + doubtful) / 5, rel=1e-6)


def test_the_report_reads_so() -> None:
    assert report.text(small()) == (
        "60.00% right of 5 images (95% interval 23.07 to 88.24%)\n"
        "wrong: 2; marked for review: 1 (20.00%), wrong among the 4 others: 1\n"
        "negative log-likelihood 2.0206, expected calibration error 27.35%\n"
        "\n"
        "true  read as\n"
        "       a  b  c\n"
        "a      1  ·  ·\n"
        "b      1  1  ·\n"
        "c      ·  1  1"
    )


def test_every_image_in_its_own_bin_counts_its_own_distance() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    labels = torch.tensor([0, 0])
    assert expected_calibration_error(logits, labels, 1.0, bins=2) == pytest.approx((0.5 + 0.25) / 2)
