"""The review in a report: its progress, several images at once, and the state in the address."""

from pathlib import Path

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import ROWS, Browser, digit, report_of
from tests.browser.test_report_page import shown

pytestmark = pytest.mark.browser

SELECTED = "return document.querySelectorAll('#sheet [aria-selected=true]').length"


def click(browser: Browser, position: int, *held: str, part: str = "") -> None:
    """Click on a cell of the sheet while modifier keys are held."""
    actions = ActionChains(browser.driver)
    for key in held:
        actions.key_down(key)
    cell = browser.find(f"#sheet [data-position='{position}'] {part}")
    browser.js("arguments[0].scrollIntoView({block: 'center'})", cell)
    actions.click(cell)
    for key in held:
        actions.key_up(key)
    actions.perform()


def test_the_page_starts_with_the_review_and_its_progress(browser: Browser, report: Path) -> None:
    browser.open(report)
    first = "return document.querySelector('main button').textContent"
    assert "3 images" in browser.js(first)
    assert browser.text("#hero-done") == "0 of 3 reviewed"
    browser.find("#review").click()
    browser.press("SPACE", "SPACE", "ESCAPE")
    assert "1 image " in browser.text("#review")
    assert browser.text("#hero-done") == "2 of 3 reviewed"
    assert browser.js("const {value, max} = document.getElementById('hero-bar'); return [value, max]") == [2, 3]
    browser.find("#review").click()
    assert browser.text("#viewer-title") == "3 of 3", "the review starts at the first image that is not reviewed"
    browser.press("SPACE", "ESCAPE")
    assert "Export" in browser.text("#hero-text")


def test_a_report_without_images_to_review_has_no_review_button(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_of(tmp_path, [ROWS[0], ROWS[6]]))
    assert "1 image " in browser.text("#hero-text")
    assert not browser.find("#review").is_displayed()


def test_filters_and_order_are_in_the_address_and_the_back_button_undoes_them(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.choose("sort", "label")
    browser.choose("show", "review")
    browser.fill("path", "caf")
    assert browser.js("return location.hash") == "#path=caf&show=review&sort=label"
    assert shown(browser) == ["caf\\xe9.png"]
    browser.driver.refresh()
    assert shown(browser) == ["caf\\xe9.png"], "only the address keeps the filter"
    browser.driver.back()
    browser.until(lambda: browser.js("return location.hash") == "#sort=label")
    assert len(shown(browser)) == 8
    browser.driver.forward()
    browser.until(lambda: shown(browser) == ["caf\\xe9.png"])


def test_a_label_is_in_the_address_by_its_name_and_an_unknown_one_is_ignored(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.choose("label", "1")
    assert browser.js("return location.hash") == "#label=7"
    browser.js("location.hash = '#label=1'")
    browser.until(lambda: len(shown(browser)) == 2)
    browser.js("location.hash = '#label=nothing&show=nonsense'")
    browser.until(lambda: len(shown(browser)) == 8)


def test_an_open_image_is_in_the_address_and_the_back_button_closes_it(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.choose("show", "review")
    click(browser, 0)
    assert browser.js("return location.hash") == "#show=review&image=2"
    browser.press("ARROW_RIGHT")
    assert browser.js("return location.hash") == "#show=review&image=4"
    browser.driver.back()
    browser.until(lambda: not browser.find("#viewer").is_displayed())
    assert browser.js("return location.hash") == "#show=review"
    browser.driver.forward()
    browser.until(lambda: browser.find("#viewer").is_displayed())
    assert browser.text("#viewer-path") == "photos/caf\\xe9.png"
    browser.press("ESCAPE")
    browser.until(lambda: browser.js("return location.hash") == "#show=review")
    browser.driver.back()
    browser.until(lambda: browser.js("return location.hash") == "")
    assert len(shown(browser)) == 8, "closing an image adds no entry to the history"


def test_an_address_with_an_image_opens_it_and_closing_it_stays_on_the_page(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.driver.get(f"{report.as_uri()}#image=3")
    browser.driver.refresh()
    assert browser.text("#viewer-path") == "photos/Seven.png"
    browser.press("ESCAPE")
    browser.until(lambda: browser.js("return location.hash") == "")
    assert len(shown(browser)) == 8


def test_several_images_are_selected_by_mouse_and_confirmed_at_once(browser: Browser, report: Path) -> None:
    browser.open(report)
    click(browser, 0, Keys.CONTROL)
    click(browser, 2, Keys.SHIFT)
    click(browser, 5, part=".pick")
    assert browser.text("#selection [role=status]") == "4 selected"
    click(browser, 1, Keys.CONTROL)
    assert browser.js(SELECTED) == 3
    browser.find("#selection [data-action=confirm]").click()
    assert "3 images" in browser.text("#selection [role=status]")
    browser.find("#export").click()
    labels = [line.split(b",")[-3:] for line in browser.saved("corrections.csv").splitlines()[1:]]
    assert labels == [[b"1", b"1", b"0.55"], [b"7", b"7", b"0.71"], [b"7", b"7", b"0.999"]]


def test_several_images_are_selected_by_keyboard_and_get_another_label(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.js("document.querySelector('#sheet .cell').focus()")
    browser.press("ARROW_RIGHT")
    for _ in range(2):
        ActionChains(browser.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert browser.js(SELECTED) == 3
    browser.press("TAB", "TAB", *"eight", "ENTER")
    assert "3 images" in browser.text("#selection [role=status]")
    assert [one.split("\n")[0] for one in browser.texts(".cell .caption")][1:4] == ["✓ eight"] * 3
    browser.find("#selection [data-action=undo]").click()
    assert browser.text("#export") == "Export", "one undo reverts all of them"
    assert browser.js(SELECTED) == 3, "the undo selects them again"


def test_all_shown_images_can_be_selected_but_no_errors(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.find("#all").click()
    assert browser.text("#selection [role=status]") == "6 selected"
    browser.choose("show", "review")
    assert browser.text("#selection [role=status]") == "3 selected", "hidden images are not selected"
    browser.find("#selection [data-action=unknown]").click()
    assert browser.text("#hero-done") == "3 of 3 reviewed"
    assert browser.texts(".cell .mine") == ["✓ unknown"] * 3
    browser.js("document.querySelector('#sheet .cell').focus()")
    for key, count in ((" ", 1), ("a", 3)):
        ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()
        assert browser.js(SELECTED) == count
    browser.press("ESCAPE")
    assert browser.js(SELECTED) == 0
    assert not browser.find("#selection").is_displayed()


def test_a_decision_of_several_images_survives_a_reload_and_is_undone_as_one(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.find("#all").click()
    browser.find("#selection [data-action=confirm]").click()
    browser.driver.refresh()
    assert browser.text("#export") == "Export 6 reviewed"
    click(browser, 0)
    browser.press("u", "ESCAPE")
    assert browser.text("#export") == "Export"


def test_probably_unknown_images_have_a_badge_and_can_be_sorted_first(browser: Browser, tmp_path: Path) -> None:
    shares = {"a.png": 0.02, "b.png": 0.97, "c.png": 0.5, "d.png": None}
    rows = [digit(path, "1", 0.9)._replace(unknown=share, review=True) for path, share in shares.items()]
    browser.open(report_of(tmp_path, rows))
    assert browser.texts(".badge") == ["unknown 97 %", "unknown 50 %"]
    browser.choose("sort", "unknown")
    assert shown(browser) == ["b.png", "c.png", "a.png", "d.png"]
    browser.choose("show", "unknown")
    assert shown(browser) == ["b.png", "c.png"]


def test_a_model_without_unknown_has_no_filter_for_it(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert not browser.texts("option[value=unknown], .badge")


def test_a_page_of_rows_without_alternatives_names_the_top_option(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_of(tmp_path, [row._replace(top=()) for row in ROWS]))
    assert "--top 3" in browser.text("#note p")


def test_a_page_without_image_files_names_the_images_option(browser: Browser, tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[2]]
    report_of(tmp_path, rows)
    report = report_of(tmp_path, [row._replace(path=f"elsewhere/{row.path}") for row in rows], images=False)
    browser.open(report)
    assert "--images FOLDER" in browser.text("#note")
    browser.console()  # discards the expected messages about missing files


def test_the_skip_link_leaves_the_filters_alone(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.fill("path", "Seven")
    browser.js("document.querySelector('.skip').click()")
    assert browser.js("return document.activeElement.id") == "sheet"
    assert shown(browser) == ["Seven.png"]
