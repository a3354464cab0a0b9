"""A report of 50,000 images in Chromium."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from producer.report.facts import Facts
from producer.report.page import Links, Options, write
from tests.browser.conftest import ROWS, Browser, digit, report_of

pytestmark = pytest.mark.browser


@dataclass
class Scrolled:
    """The cost of scrolling.

    Args:
        longest: The duration of the longest task in milliseconds.
        cells: The largest number of cells in the page.
    """

    longest: float
    cells: int


SCROLL = """
const done = arguments[0];
const tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries())).observe({ type: "longtask" });
let [frames, cells] = [0, 0];
const step = () => {
  frames += 1;
  cells = Math.max(cells, document.querySelectorAll("#sheet .cell").length);
  if (frames % 30 === 0) scrollTo(0, (document.body.scrollHeight * ((frames * 37) % 100)) / 100);
  else scrollBy(0, 450);
  if (frames < 240) requestAnimationFrame(step);
  else setTimeout(() => done({ longest: Math.max(0, ...tasks.map((task) => task.duration)), cells }), 300);
};
requestAnimationFrame(step);
"""


@pytest.mark.parametrize("embedded", [50_000, 1_000], ids="{} embedded".format)
def test_50_000_images_are_shown_at_once_and_scroll_smoothly(browser: Browser, tmp_path: Path, embedded: int) -> None:
    sample = report_of(tmp_path, ROWS[:1]).with_name("photos") / "one.png"
    rows = [
        digit(f"photos/image-{number % 500:03}.png", str(number % 10), 0.4 + number % 601 / 1000)
        for number in range(50_000)
    ]
    for number in range(500):
        os.link(sample, sample.with_name(f"image-{number:03}.png"))
    report = tmp_path / "large.html"
    pictures = _SameThumbnail(sample.read_bytes())
    with report.open("wb") as file:
        write(file, rows, Facts(source="results.csv"), Links("./", ""), 1.8e9, Options(pictures, embedded))
    browser.open(report)
    first = browser.js("return performance.now()")
    assert browser.js("return document.querySelectorAll('#sheet .cell').length") > 20
    scrolled = Scrolled(**browser.driver.execute_async_script(SCROLL))
    print(f"first view {first:.0f} ms, longest task while scrolling {scrolled.longest:.0f} ms, {scrolled.cells} cells")
    assert first < 2000
    assert scrolled.longest < 200
    assert scrolled.cells < 400
    browser.fill("path", "image-499")
    assert browser.text("#count") == "100 of 50,000 images"


class _SameThumbnail:
    """Returns the same thumbnail for every image, because it takes long to write 50,000 files."""

    def __init__(self, picture: bytes) -> None:
        self._picture = picture

    def make(self, paths: Sequence[str]) -> Iterator[tuple[int, bytes | str]]:
        return ((position, self._picture) for position in range(len(paths)))
