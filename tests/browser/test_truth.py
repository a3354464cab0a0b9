"""A report with true labels: the accuracy, the confusions, and their filters."""

from pathlib import Path

import pytest
from selenium.webdriver.remote.webelement import WebElement

from producer.report.truth import FileTruth
from tests.browser.conftest import ROWS, Browser, digit, report_of
from tests.browser.test_report_page import shown

pytestmark = pytest.mark.browser

#: True labels of `ROWS`: two rows are wrong, one has no true label, one is an error.
TRUTH = """path,label
photos/one.png,1
photos/Seven.png,7
"photos/a ""b"", c.png",1
photos/sure.png,9
photos/gone.png,9
"""


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    """Write a report of `ROWS` with the true labels of `TRUTH`, and return its path."""
    (tmp_path / "truth.csv").write_text(TRUTH)
    return report_of(tmp_path, ROWS, truth=FileTruth(str(tmp_path / "truth.csv"), str(tmp_path)))


def test_a_report_with_true_labels_shows_the_accuracy(browser: Browser, compared: Path) -> None:
    browser.open(compared)
    for part in ("50.0 %", "2 of 4 images", "1 error"):
        assert part in browser.text("#truth summary")
    browser.find("#truth summary").click()
    heads = browser.texts("#truth thead th")
    cells = [[cell.text for cell in line.find_elements("css selector", "td")] for line in lines(browser)]
    assert heads == ["1", "7", "9"]
    assert cells == [["1", "1", ""], ["", "1", ""], ["", "1", ""]], "the lines are true labels"
    assert browser.texts("#truth .confusions li") == ["1 classified as 7 1×", "9 classified as 7 1×"]


def lines(browser: Browser) -> list[WebElement]:
    """Return the lines of the confusion matrix."""
    found: list[WebElement] = browser.driver.find_elements("css selector", "#truth tbody tr")
    return found


def test_wrong_labels_can_be_filtered(browser: Browser, compared: Path) -> None:
    browser.open(compared)
    browser.find("#truth summary").click()
    browser.find("[data-wrong]").click()
    assert shown(browser) == ['a "b", c.png', "sure.png"]
    assert [one.split("\n") for one in browser.texts(".cell.wrong .caption")] == [["7", "true: 1"], ["7", "true: 9"]]
    assert browser.js("return location.hash") == "#show=wrong"
    browser.find(".cell").click()
    assert "✗ wrong, the true label is 1" in browser.text("#viewer-result")


def test_a_confusion_opens_its_images(browser: Browser, compared: Path) -> None:
    browser.open(compared)
    browser.find("#truth summary").click()
    browser.find("#truth .confusions button").click()
    assert shown(browser) == ['a "b", c.png']
    assert browser.js("return location.hash") == "#label=7&truth=1&show=wrong"


def test_an_out_of_distribution_image_is_right_if_its_label_is_unknown(browser: Browser, tmp_path: Path) -> None:
    rows = [digit(f"{share}.png", "1", 0.9)._replace(unknown=share, review=True) for share in (0.9, 0.1)]
    (tmp_path / "corrections.csv").write_text("path,label,was,confidence\n0.9.png,,1,0.9\n0.1.png,,1,0.9\n")
    truth = FileTruth(str(tmp_path / "corrections.csv"), str(tmp_path))
    browser.open(report_of(tmp_path, rows, truth=truth))
    assert "1 of 2 images" in browser.text("#truth summary")
    browser.find("#truth summary").click()
    assert browser.texts("#truth .confusions li") == ["unknown classified as 1 1×"]


def test_a_report_without_true_labels_has_no_filter_for_them(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert not browser.find("#truth").is_displayed()
    assert not browser.find("[name=truth]").is_displayed()
    assert not browser.texts("option[value=wrong]")
