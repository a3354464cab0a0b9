"""Debian's Chromium without a window, for tests and pictures of the report."""

import shutil

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service


def start_chromium() -> Chrome:
    """Start it; nothing is downloaded, neither a driver nor anything that it would like to have.

    Raises:
        FileNotFoundError: it is not installed.
    """
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        raise FileNotFoundError(
            "Chromium and its driver are not installed: `apt-get install chromium chromium-driver` has both"
        )
    options = ChromeOptions()
    options.binary_location = chromium
    # --no-sandbox: as root, say in a container, its sandbox is not to be had.
    for flag in ("--headless=new", "--no-sandbox", "--disable-background-networking", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(executable_path=chromedriver))


def resize(driver: Chrome, width: int, height: int, scale: float = 1) -> None:
    """Give the page so many pixels, whatever a window may be at least."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(driver: Chrome, scheme: str) -> None:
    """Have the system prefer a light or a dark page."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
