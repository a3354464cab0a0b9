"""The large view: the image, its facts, and the keys that set its label."""

import os
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from pigeonhole.ledger.wire.messages import Row
from tests.browser.conftest import MODEL, ROWS, Browser, digit, report_of

pytestmark = pytest.mark.browser

SHAPES = {"1:4": (100, 400), "3:4": (300, 400), "4:1": (400, 100)}
NOON = 1_592_222_400  # 2020-06-15 12:00 UTC


def photos(folder: Path) -> list[Row]:
    """Write an image of each shape, and return their rows."""
    rows = []
    for number, size in enumerate(SHAPES.values()):
        Image.new("RGB", size, "teal").save(folder / f"{number}.png")
        os.utime(folder / f"{number}.png", (NOON, NOON))
        rows.append(digit(f"{number}.png", "1", 0.9)._replace(unknown=0.031))
    return rows


def open_at(browser: Browser, position: int = 0) -> None:
    """Open the large view of an image by its position on the sheet, and wait until the image is loaded."""
    browser.find(f"#sheet [data-position='{position}']").click()
    browser.until(lambda: browser.js("return document.querySelector('#viewer-picture img')?.naturalWidth"))


INSIDE = """
const [outer, inner] = [arguments[0], arguments[1]].map((one) => one.getBoundingClientRect());
return inner.width > 0 && inner.height > 0 && inner.left >= outer.left - 1 && inner.right <= outer.right + 1
  && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("embedded", [0, 9])
def test_an_image_of_any_shape_stays_inside_its_frame(
    browser: Browser, tmp_path: Path, embedded: int, width: int
) -> None:
    browser.open(report_of(tmp_path, photos(tmp_path), embedded), width, 844)
    loaded = "return [...document.querySelectorAll('#sheet img')].every((one) => one.complete && one.naturalWidth)"
    browser.until(lambda: browser.js(loaded))
    for cell in browser.driver.find_elements("css selector", "#sheet .cell"):
        thumb, caption = (cell.find_element("css selector", part) for part in (".thumb", ".caption"))
        assert browser.js(INSIDE, thumb, thumb.find_element("css selector", "img"))
        assert browser.js(INSIDE, cell, caption)
        assert caption.text.split("\n") == ["1", "90.0 %"]
    for position in range(len(SHAPES)):
        open_at(browser, position)
        assert browser.js(INSIDE, browser.find("#viewer-picture"), browser.find("#viewer-picture img"))
        browser.leave()


def test_the_large_view_shows_the_facts_of_an_image(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_of(tmp_path, photos(tmp_path)))
    open_at(browser, 1)
    browser.until(lambda: browser.texts("#viewer-facts dd")[0] == "300 × 400")
    facts = dict(zip(browser.texts("#viewer-facts dt"), browser.texts("#viewer-facts dd"), strict=True))
    assert facts["Size"] == f"{(tmp_path / '1.png').stat().st_size / 1000:.1f} kB"
    assert facts["Modified"].startswith("Jun 15, 2020")
    assert facts["Submitted"] == "as number 2 of 3"
    assert browser.texts("#viewer-alternatives li") == ["1\n90.0 %", "2\n10.0 %", "unknown\n3.1 %"]


def test_a_moved_page_marks_its_picture_as_a_thumbnail(browser: Browser, tmp_path: Path) -> None:
    report = report_of(tmp_path, photos(tmp_path))
    (tmp_path / "moved").mkdir()
    browser.open(report.rename(tmp_path / "moved" / "report.html"))
    open_at(browser)
    browser.until(lambda: browser.texts("#viewer-facts dd")[0] == "thumbnail, 40 × 160")
    browser.console()  # discards the expected messages about missing files


def test_zoom_shows_each_pixel_of_a_small_image(browser: Browser, tmp_path: Path) -> None:
    rows = photos(tmp_path)
    Image.new("RGB", (28, 28), "red").save(tmp_path / "0.png")
    browser.open(report_of(tmp_path, rows))
    open_at(browser)
    width = "return document.querySelector('#viewer-picture img').getBoundingClientRect().width"
    rendering = "return getComputedStyle(document.querySelector('#viewer-picture img')).imageRendering"
    assert browser.js(rendering) == "pixelated"
    browser.find("[data-zoom=actual]").click()
    assert (browser.js(width), browser.text("#viewer-zoom output")) == (28, "100 %")
    browser.press("+", "+")
    assert (browser.js(width), browser.js(rendering)) == (112, "pixelated")
    browser.press("-", "z")
    assert browser.find("[data-zoom=fit]").get_attribute("aria-pressed") == "true"
    browser.press("z", "ARROW_RIGHT")
    browser.until(lambda: browser.js("return document.querySelector('#viewer-picture img').naturalWidth") == 300)
    assert browser.find("[data-zoom=fit]").get_attribute("aria-pressed") == "true", (
        "each image starts fitted to its frame"
    )
    assert browser.js(rendering) == "auto"


def test_a_picture_larger_than_its_frame_can_be_moved(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_of(tmp_path, photos(tmp_path)))
    open_at(browser, 1)
    browser.press(*"++++")
    place = "const one = document.getElementById('viewer-picture'); return [one.scrollLeft, one.scrollTop]"
    left, top = browser.js(place)
    assert left > 0
    assert top > 0, "zooming keeps the centre in place"
    ActionChains(browser.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP).key_up(
        Keys.SHIFT
    ).perform()
    assert browser.js(place) == [left - 80, top - 80]
    picture = browser.find("#viewer-picture")
    ActionChains(browser.driver).click_and_hold(picture).move_by_offset(-30, -20).release().perform()
    browser.until(lambda: browser.js(place) == [left - 50, top - 60])


def test_the_path_is_copied(browser: Browser, report: Path) -> None:
    browser.open(report)
    open_at(browser, 1)
    browser.find("[data-action=copy]").click()
    browser.until(lambda: "copied" in browser.text("#viewer-said"))
    browser.press("/")
    ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys("v").key_up(Keys.CONTROL).perform()
    assert browser.find("#viewer-picker input").get_attribute("value") == "photos/caf\\xe9.png"


def test_buttons_open_the_neighbouring_images(browser: Browser, report: Path) -> None:
    browser.open(report)
    open_at(browser, 1)
    assert len(browser.texts("#viewer-strip button")) == 6
    assert browser.find("#viewer-strip [aria-current]").get_attribute("data-at") == "1"
    browser.find("#viewer-strip [data-at='3']").click()
    assert browser.text("#viewer-title") == "4 of 8"
    browser.find("[data-action=previous]").click()
    assert browser.text("#viewer-title") == "3 of 8"


def test_buttons_of_digits_keep_their_size_after_a_typed_label(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.find("#review").click()
    own = "[...document.querySelectorAll('#viewer-classes .own')]"
    sizes = f"return {own}.map((one) => [one.offsetWidth, one.offsetHeight])"
    before = browser.js(sizes)
    browser.press("/", *"a cat", "ENTER")
    assert browser.js(sizes) == before
    assert all(browser.texts("#viewer-classes button"))


#: 120 classes; the first is by far the most frequent.
NAMES = [f"{kind} dog with a name that is long, number {number}" for number in range(40) for kind in ("A", "B", "C")]


def many_classes() -> list[Row]:
    tops = [(NAMES[at], NAMES[(at + 50) % 120], NAMES[(at + 90) % 120]) for at in range(120)]
    top = [tuple(zip(names, (0.5, 0.3, 0.1), strict=True)) for names in tops]
    rows = [Row(f"{at}.png", NAMES[at], 0.5, at < 3, "", MODEL, top[at]) for at in range(120)]
    return rows + [Row(f"more-{at}.png", NAMES[0], 0.5, False, "", MODEL, top[0]) for at in range(80)]


def test_the_most_probable_of_many_classes_have_the_first_keys(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_of(tmp_path, many_classes()))
    browser.find("#review").click()
    likely = [NAMES[0], NAMES[50], NAMES[90]]
    buttons = "return [...document.querySelectorAll('#viewer-alternatives button')].map((one) => one.dataset.label)"
    assert browser.js(buttons) == likely
    browser.press("2")
    assert NAMES[50] in browser.text("#viewer-said")
    assert browser.js(buttons) == [NAMES[1], NAMES[51], NAMES[91]]
    assert browser.texts("#viewer-classes button")[0] == f"4\n{NAMES[50]}", "recently used classes have the next keys"
    browser.press("4", "ESCAPE")
    assert browser.text("#hero-done") == "2 of 3 reviewed"


def test_other_classes_are_found_by_part_of_their_name(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_of(tmp_path, many_classes()))
    browser.find("#review").click()
    browser.press("/", *"NUMBER 39")
    options = "#viewer-picker [role=option]"
    found = [f"{kind} dog with a name that is long, number 39" for kind in "ABC"]
    assert browser.texts(options) == [*found, "New label “NUMBER 39”"]
    browser.press("ARROW_DOWN", "ENTER")
    assert found[1] in browser.text("#viewer-said")
    browser.press("/", *"39")
    browser.press("ESCAPE")
    assert browser.find("#viewer").is_displayed(), "the first Escape only leaves the field"
    browser.press("ESCAPE")
    assert not browser.find("#viewer").is_displayed()


def test_each_of_many_classes_has_a_bar_with_its_full_name(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_of(tmp_path, many_classes()))
    names = "return [...document.querySelectorAll('#labels-chart .name')].map((one) => one.textContent)"
    found = browser.js(names)
    assert found[0] == NAMES[0], "the most frequent first"
    assert sorted(found) == sorted(NAMES)
    widths = (
        "return [...document.querySelectorAll('#labels-chart li')].map((one) => one.scrollWidth <= one.clientWidth)"
    )
    assert all(browser.js(widths))
    scale = "return [...document.querySelectorAll('#labels-chart .sure')].map((one) => parseFloat(one.style.width))"
    assert max(browser.js(scale)) == pytest.approx(100 * 80 / 81, abs=0.1), "the scale contains only labels"
    browser.find("#labels-chart button").click()
    assert browser.text("#count") == "81 of 200 images"


@pytest.mark.parametrize(
    ("share", "places", "text"),
    [
        (1, 1, "100.0 %"),
        (0.999999, 1, ">99.9 %"),
        (0.9995, 1, ">99.9 %"),
        (0.999499, 1, "99.9 %"),
        (0.2825, 1, "28.3 %"),
        (0.28249, 1, "28.2 %"),
        (0.0005, 1, "0.1 %"),
        (0.000001, 1, "<0.1 %"),
        (0, 1, "0.0 %"),
        (0.995, 0, ">99 %"),
        (0.985, 0, "99 %"),
        (None, 1, ""),
    ],
)
def test_percentages_are_rounded_and_only_one_is_100(
    browser: Browser, report: Path, share: float | None, places: int, text: str
) -> None:
    browser.open(report)
    assert browser.js("return percent(arguments[0], arguments[1])", share, places) == text


def test_the_theme_button_names_the_other_theme(browser: Browser, report: Path) -> None:
    browser.open(report)
    button = browser.find("#theme")
    names = [button.text]
    for _ in range(2):
        button.click()
        names.append(button.text)
    assert names == ["Dark", "Light", "Dark"]


def test_an_error_row_has_no_picture_and_no_decision(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.find(f"#sheet [data-position='{len(ROWS) - 1}']").click()
    assert browser.text("#viewer-result") == "truncated: the file ends early"
    browser.press("1", "SPACE", "x")
    assert not browser.find("#viewer-decide").is_displayed()
    browser.press("ESCAPE")
    assert browser.text("#export") == "Export"
