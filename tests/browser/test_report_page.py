"""The report page in Chromium, opened as a file: `make browser-test`."""

import os
import re
from pathlib import Path

import pytest

from pigeonhole.ledger.status import JobState
from pigeonhole.ledger.wire.messages import Row
from producer.report.facts import Facts
from producer.report.page import Links, write
from scripts.chromium import prefer
from tests.browser.conftest import HOSTILE, MODEL, ROWS, Browser, digit, report_of

pytestmark = pytest.mark.browser

SHOWN = "return [...document.querySelectorAll('#sheet .cell')].map((cell) => cell.getAttribute('aria-label'))"
LATIN = os.fsdecode(b"photos/caf\xe9.png")


def shown(browser: Browser) -> list[str]:
    """Return the names of the images on the sheet, in order."""
    return [label.split(":")[0].rpartition("/")[2] for label in browser.js(SHOWN)]


#: All names in the default order: first rows to review, by rising confidence; errors last.
EVERYTHING = [HOSTILE, "caf\\xe9.png", 'a "b", c.png', "Seven.png", "one.png", "sure.png", "gone.png", "cut.png"]


def test_images_to_review_come_first_and_errors_last(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert shown(browser) == EVERYTHING
    assert browser.texts("#sheet h2") == ["Errors 2 images"]
    assert browser.texts(".failed .why") == ["missing: no such file", "truncated: the file ends early"]
    assert browser.texts("#tiles b") == ["8", "6", "3", "2"]


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("label", [HOSTILE, "one.png", "caf\\xe9.png", 'a "b", c.png', "Seven.png", "sure.png", "gone.png", "cut.png"]),
        ("confidence", EVERYTHING),
        (
            "submitted",
            ["one.png", HOSTILE, "Seven.png", "caf\\xe9.png", 'a "b", c.png', "sure.png", "gone.png", "cut.png"],
        ),
        ("path", [HOSTILE, 'a "b", c.png', "caf\\xe9.png", "cut.png", "gone.png", "one.png", "Seven.png", "sure.png"]),
    ],
)
def test_the_order_of_the_images_can_be_chosen(browser: Browser, report: Path, sort: str, names: list[str]) -> None:
    browser.open(report)
    browser.choose("sort", sort)
    assert shown(browser) == names
    headings = ["1 2 images, 1 to review", "7 4 images, 2 to review", "Errors 2 images"]
    expected = {"label": headings, "confidence": headings[2:]}
    assert browser.texts("#sheet h2") == expected.get(sort, []), "the other orders mix errors with other rows"


def test_embedded_and_linked_images_are_shown(browser: Browser, report: Path) -> None:
    browser.open(report)
    loaded = (
        "return [...document.querySelectorAll('#sheet img')].filter((one) => one.naturalWidth).map((one) => one.src)"
    )
    sources = browser.until(lambda: len(found := browser.js(loaded)) == 6 and found)
    assert sum(source.startswith("data:image/webp") for source in sources) == 4
    assert sum(source.startswith("file:") for source in sources) == 2
    assert all(browser.js("return [...document.images].map((one) => one.alt)"))


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"path": "PHOTOS/s"}, ["Seven.png", "sure.png"]),
        ({"path": "\\xe9"}, ["caf\\xe9.png"]),
        ({"label": "0"}, [HOSTILE, "one.png"]),
        ({"show": "review"}, [HOSTILE, "caf\\xe9.png", 'a "b", c.png']),
        ({"show": "error"}, ["gone.png", "cut.png"]),
        ({"show": "error:truncated"}, ["cut.png"]),
        ({"low": "60", "high": "97"}, ["caf\\xe9.png", 'a "b", c.png', "Seven.png"]),
        ({"show": "review", "label": "0", "high": "50"}, []),
    ],
    ids=str,
)
def test_filters_leave_only_the_matching_images(
    browser: Browser, report: Path, filters: dict[str, str], names: list[str]
) -> None:
    browser.open(report)
    for name, value in filters.items():
        (browser.choose if name in ("label", "show") else browser.fill)(name, value)
    assert shown(browser) == names
    assert browser.text("#count") == f"{len(names)} of 8 images"
    assert browser.find("#none").is_displayed() == (not names)
    browser.find("#filters [type=reset]").click()
    browser.until(lambda: browser.text("#count") == "8 images")


def test_a_hostile_name_stays_text(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.find("#sheet .cell").get_attribute("title") == f"{HOSTILE}: 1, 55.0 %, to review"
    browser.find("#sheet .cell").click()
    assert browser.text("#viewer-path") == HOSTILE
    assert browser.js("return document.querySelectorAll('img[onerror], img[src=x]').length") == 0
    assert browser.js("return document.title") == "Pigeonhole report: results.csv"


def test_the_content_security_policy_blocks_foreign_scripts_and_requests(chromium: Browser, report: Path) -> None:
    chromium.open(report)
    chromium.console()
    for attempt in (
        "document.body.setAttribute('onclick', 'window.broken = 1'); document.body.click()",
        "document.body.innerHTML = '<b>'",
        "const one = document.createElement('script'); one.text = 'window.broken = 1'; document.body.append(one)",
        "document.body.append(Object.assign(document.createElement('img'), {src: 'https://localhost:1/x.png'}))",
    ):
        chromium.js(f"try {{ {attempt} }} catch {{ /* blocked */ }}")
    assert chromium.js("return [window.broken, document.querySelectorAll('#sheet .cell').length]") == [None, 8]
    fetched = "const done = arguments[0]; fetch('https://localhost:1/').then(() => done('got'), (e) => done(e.name))"
    assert chromium.driver.execute_async_script(fetched) == "TypeError"
    assert any("Content Security Policy" in message for message in chromium.console())


def test_the_keyboard_moves_through_the_sheet(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.js("document.querySelector('#sheet .cell').focus()")
    focused = "return document.activeElement.getAttribute('aria-label').split(':')[0].split('/').pop()"
    visited = []
    for key in ("ARROW_RIGHT", "ARROW_DOWN", "END", "ARROW_DOWN", "ARROW_DOWN", "HOME", "PAGE_UP"):
        browser.press(key)
        visited.append(browser.js(focused))
    assert visited == ["caf\\xe9.png", "gone.png", "gone.png", "cut.png", "cut.png", "cut.png", HOSTILE]
    browser.press("ARROW_RIGHT", "ENTER")
    assert browser.text("#viewer-path") == "photos/caf\\xe9.png"
    browser.press("ARROW_RIGHT", "ESCAPE")
    browser.until(lambda: browser.js(focused) == 'a "b", c.png')  # the image that was open last


def test_a_review_by_keyboard_survives_a_reload(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.find("#review").click()
    assert browser.text("#viewer-title") == "1 of 3"
    assert browser.texts("#viewer-classes button") == ["1", "2", "7", "8"]
    browser.press("7")
    assert (browser.text("#viewer-title"), browser.text("#viewer-reviewed")) == ("2 of 3", "1 reviewed")
    assert browser.text("#viewer-path") == "photos/caf\\xe9.png"
    browser.press("SPACE", "x")
    assert "last image" in browser.text("#viewer-said")
    assert browser.text("#viewer-decision") == "✓ unknown"
    browser.press("u")
    assert browser.text("#viewer-decision") == ""
    browser.press("u", "1", "ESCAPE")
    assert browser.text("#export") == "Export 2 reviewed"
    browser.driver.refresh()
    assert browser.text("#export") == "Export 2 reviewed"
    browser.find("#review").click()
    assert (browser.text("#viewer-title"), browser.text("#viewer-reviewed")) == ("3 of 3", "2 reviewed")
    browser.press("u")  # undoes a decision that was taken before the reload
    assert browser.text("#viewer-path") == "photos/caf\\xe9.png"


def test_an_export_has_exactly_the_reviewed_images(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.find("#review").click()
    browser.press("x", "1", "SPACE", "ESCAPE")
    browser.choose("show", "")
    browser.find("#export").click()
    hostile, latin, quoted = ROWS[1], ROWS[3], ROWS[4]
    assert browser.saved("corrections.csv") == b"".join([
        b"path,label,was,confidence\n",
        os.fsencode(f"{hostile.path},,1,0.55\n"),
        b"photos/caf\xe9.png,1,7,0.62\n",
        b'"photos/a ""b"", c.png",7,7,0.71\n',
    ])  # fmt: skip
    assert (latin.label, quoted.label) == ("7", "7")


def test_an_export_for_spreadsheets_has_no_formula(browser: Browser, tmp_path: Path) -> None:
    browser.open(report_of(tmp_path, [ROWS[4]._replace(path="=1+1.png", label="-1", review=True)], csv_safe=True))
    browser.find("#review").click()
    browser.press("SPACE", "ESCAPE")
    browser.find("#export").click()
    assert browser.saved("corrections.csv") == b"\"path\",label,was,confidence\n'=1+1.png,'-1,'-1,0.71\n"


def test_a_new_label_can_be_typed_and_gets_a_key(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.find("#review").click()
    browser.press("/", *"a cat", "ENTER")
    assert "a cat" in browser.text("#viewer-said")
    assert "a\na cat" in browser.texts("#viewer-classes button")
    browser.press("a", "ESCAPE")
    browser.find("#export").click()
    assert browser.saved("corrections.csv").count(b",a cat,") == 2


def test_up_to_nine_classes_have_keys_from_1_on_in_their_order(browser: Browser, tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(9)]
    rows = [digit(f"{at}.png", "1", 0.5)._replace(label=name, top=()) for at, name in enumerate(names)]
    browser.open(report_of(tmp_path, rows))
    browser.find("#review").click()
    assert browser.texts("#viewer-classes button") == [f"{at + 1}\n{name}" for at, name in enumerate(names)]
    browser.press("9", "ESCAPE")
    browser.find("#export").click()
    assert browser.saved("corrections.csv").splitlines()[1] == b"0.png,class 8,class 0,0.5"


def test_a_browser_without_storage_is_reported(chromium: Browser, report: Path) -> None:
    # If a browser blocks site data, access to the storage throws.
    blocked = (
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }})"
    )
    added = chromium.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": blocked})
    try:
        chromium.open(report)
        note = chromium.text("#note")
        assert "(SecurityError)" in note
        assert "Export" in note
        chromium.find("#review").click()
        chromium.press("7", "ESCAPE")
        assert chromium.text("#export") == "Export 1 reviewed"
    finally:
        chromium.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_the_theme_is_the_systems_until_the_user_chooses_one(browser: Browser, report: Path) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    prefer(browser.driver, "dark")
    browser.open(report)
    dark = browser.js(background)
    browser.find("#theme").click()
    light = browser.js(background)
    assert light != dark
    browser.driver.refresh()
    assert browser.js(background) == light
    browser.js("localStorage.removeItem('pigeonhole:theme')")
    prefer(browser.driver, "light")


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width, 844)
    assert browser.js("return document.documentElement.scrollWidth") == width
    browser.find("#review").click()
    assert browser.js("const d = document.getElementById('viewer'); return d.scrollWidth <= d.clientWidth")


def test_a_page_shows_models_times_and_the_number_of_missing_rows(browser: Browser, tmp_path: Path) -> None:
    facts = Facts(
        source="job 1",
        job="1",
        state=JobState.RUNNING,
        images=9,
        started=1e9,
        finished=1e9 + 2,
        seconds=2,
        images_per_second=4.5,
    )
    rows = [ROWS[0], ROWS[2]._replace(model="digits@ba9876543210")]
    report = report_of(tmp_path, rows)
    with report.open("wb") as file:
        write(file, rows, facts, Links("./", ""), 1.8e9)
    browser.open(report)
    browser.find("#facts").find_element("xpath", "..").find_element("css selector", "summary").click()
    shown_facts = dict(zip(browser.texts("#facts dt"), browser.texts("#facts dd"), strict=True))
    assert shown_facts["Models"] == "digits@0123456789ab (1 image), digits@ba9876543210 (1 image)"
    assert shown_facts["Speed"] == "5 images/s, 2 s in all"
    assert "2001" in shown_facts["Started"]
    assert re.search(r"\b2\b.*\b9 images\b", browser.text("#note p"))


def test_two_tabs_of_a_report_share_their_decisions(browser: Browser, report: Path) -> None:
    browser.open(report)
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open(report)
    browser.find("#review").click()
    browser.press("7")
    browser.driver.close()
    browser.driver.switch_to.window(first)
    browser.until(lambda: browser.text("#export") == "Export 1 reviewed")


def test_several_labels_are_one_group_and_no_label_is_not_an_error(browser: Browser, tmp_path: Path) -> None:
    top = (("sea", 0.9), ("sun", 0.6), ("sand", 0.4))
    rows = [
        Row("both.png", "sea|sand", 0.9, False, "", MODEL, top, ("sea", "sand")),
        Row("none.png", "", None, True, "", MODEL, (("sea", 0.2), ("sun", 0.1)), ()),
        Row("gone.png", "", None, False, "missing: no such file", MODEL, ()),
    ]
    browser.open(report_of(tmp_path, rows))
    browser.choose("sort", "label")
    assert browser.texts("#sheet h2") == ["no label 1 image, 1 to review", "sea|sand 1 image", "Errors 1 image"]
    assert browser.texts("#tiles b") == ["3", "1", "1", "1"]
    assert browser.texts("[name=label] option") == ["all", "no label (1)", "sea|sand (1)"]
    assert browser.find("#labels-chart button").get_attribute("title") == "no label: 1, 1 to review"
    browser.find("#review").click()
    assert browser.text("#viewer-result").split("\n") == ["no label", "to review"]
    assert browser.texts("#viewer-alternatives li") == ["sea\n20.0 %", "sun\n10.0 %"]
    assert browser.text("#viewer-now") == "none.png: no label, to review"
    assert browser.texts("#viewer-classes button span") == ["sand", "sea", "sea|sand", "sun"]
    browser.press("SPACE", "ESCAPE")
    browser.find("#export").click()
    assert browser.saved("corrections.csv") == b"path,label,was,confidence\nnone.png,,,\n"
