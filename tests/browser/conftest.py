"""A headless Chromium, and reports that it opens from disk."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from pigeonhole.ledger.wire.messages import Row
from pigeonhole.settings import Settings
from producer.report.facts import Facts
from producer.report.file_facts import FileFacts
from producer.report.page import Links, Options, write
from producer.report.thumbnails import Thumbnails
from producer.report.truth import Truth
from scripts.chromium import resize, start_chromium

#: Timeout of the browser in seconds.
PATIENCE = 10.0
MODEL = "digits@0123456789ab"
HOSTILE = "<img src=x onerror=document.title='broken'>.png"


class Browser:
    """Operates a page as a user does, with keys and clicks, and reads it."""

    def __init__(self, driver: Chrome, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads

    def open(self, report: Path, width: int = 1280, height: int = 900) -> None:
        resize(self.driver, width, height)
        self.driver.get(report.as_uri())

    def js(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(code, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        found: str = self.find(selector).text
        return found

    def texts(self, selector: str) -> list[str]:
        return [one.text for one in self.driver.find_elements("css selector", selector)]

    def press(self, *keys: str) -> None:
        """Press keys one after the other, in the focused element."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(getattr(Keys, key, key))

    def leave(self) -> None:
        """Close the large view, and wait for the sheet and the address."""
        self.press("ESCAPE")
        self.until(lambda: "image=" not in self.js("return location.hash"))

    def choose(self, name: str, value: str) -> None:
        self.find(f"#filters [name={name}] option[value='{value}']").click()

    def fill(self, name: str, value: str) -> None:
        field = self.find(f"#filters [name={name}]")
        field.clear()
        field.send_keys(value)

    def until(self, condition: Callable[[], Any]) -> Any:
        give_up = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < give_up, "it did not come about"
            time.sleep(0.02)
        return found

    def saved(self, name: str) -> bytes:
        """Return the bytes of a file that the page saved."""
        file = self.downloads / name
        data: bytes = self.until(lambda: file.exists() and file.read_bytes())
        file.unlink()
        return data

    def complaints(self) -> list[str]:
        """Return the messages in the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    try:
        driver = start_chromium()
    except FileNotFoundError as exc:
        pytest.fail(str(exc))
    downloads = tmp_path_factory.mktemp("downloads")
    behavior = {"behavior": "allow", "downloadPath": str(downloads)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    yield Browser(driver, downloads)
    driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser with empty storage; its console must stay empty."""
    # All pages from disk share a storage.
    kept = {"origin": "file://", "storageTypes": "local_storage"}
    chromium.driver.execute_cdp_cmd("Storage.clearDataForOrigin", kept)
    chromium.complaints()
    yield chromium
    assert chromium.complaints() == []


def digit(path: str, label: str, confidence: float) -> Row:
    top = ((label, confidence), (str((int(label) + 1) % 10), 1 - confidence))
    return Row(path, label, confidence, confidence < 0.8, "", MODEL, top)


#: Rows with two labels, three to review, two errors, and hostile and odd names.
ROWS = [
    digit("photos/one.png", "1", 0.99),
    digit(HOSTILE, "1", 0.55),
    digit("photos/Seven.png", "7", 0.97),
    digit(os.fsdecode(b"photos/caf\xe9.png"), "7", 0.62),
    digit('photos/a "b", c.png', "7", 0.71),
    digit("photos/sure.png", "7", 0.999),
    Row("photos/gone.png", "", None, False, "missing: no such file", MODEL, ()),
    Row("photos/cut.png", "", None, False, "truncated: the file ends early", MODEL, ()),
]


def report_of(
    folder: Path,
    rows: Sequence[Row],
    thumbnails: int = 4,
    csv_safe: bool = False,
    truth: Truth | None = None,
    images: bool = True,
) -> Path:
    """Write a report beside its images; missing images are created, 28 pixels wide and high."""
    for number, row in enumerate(rows):
        file = folder / row.path
        if images and not row.error and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (28, 28), (number * 30 % 256, 90, 160)).save(file)
    report = folder / "report.html"
    with report.open("wb") as page:
        links = Links.between(str(report), str(folder))
        pictures = Thumbnails(str(folder), Settings())
        options = Options(pictures, thumbnails, csv_safe, truth, FileFacts(str(folder)))
        write(page, rows, Facts(source="results.csv"), links, 1.8e9, options)
    return report


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return report_of(tmp_path, ROWS)
