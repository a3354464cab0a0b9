"""A headless Chromium, and reports that it opens as files."""

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

#: Timeout of each wait in seconds.
TIMEOUT = 10.0
MODEL = "digits@0123456789ab"
HOSTILE = "<img src=x onerror=document.title='broken'>.png"


class Browser:
    """Operates and reads a page by keys and clicks, as a user does."""

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
        """Close the large view, and wait until the address has no image."""
        self.press("ESCAPE")
        self.until(lambda: "image=" not in self.js("return location.hash"))

    def choose(self, name: str, value: str) -> None:
        """Choose an option of a filter."""
        self.find(f"#filters [name={name}] option[value='{value}']").click()

    def fill(self, name: str, value: str) -> None:
        """Replace the text in a field of the filters."""
        field = self.find(f"#filters [name={name}]")
        field.clear()
        field.send_keys(value)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition returns a true value, and return the value."""
        give_up = time.monotonic() + TIMEOUT
        while not (found := condition()):
            assert time.monotonic() < give_up, f"not within {TIMEOUT:.0f} s"
            time.sleep(0.02)
        return found

    def saved(self, name: str) -> bytes:
        """Return the bytes of a file that the page saved, and remove the file."""
        file = self.downloads / name
        data: bytes = self.until(lambda: file.exists() and file.read_bytes())
        file.unlink()
        return data

    def console(self) -> list[str]:
        """Return the console's messages since the last call."""
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
    """Yield a browser with empty storage, and check afterwards that its console is empty."""
    # All pages from files share a storage.
    kept = {"origin": "file://", "storageTypes": "local_storage"}
    chromium.driver.execute_cdp_cmd("Storage.clearDataForOrigin", kept)
    chromium.console()
    yield chromium
    assert chromium.console() == []


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
    """Write a report into the folder of its images, and create missing images of 28 x 28 pixels."""
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
