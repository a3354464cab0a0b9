"""Run Debian's Chromium without a window, for tests and pictures of the report."""

import shutil

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service


def start_chromium() -> Chrome:
    """Start Chromium with the installed driver, and without background downloads.

    Raises:
        FileNotFoundError: Chromium or its driver is not installed.
    """
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        raise FileNotFoundError(
            "Chromium or its driver is not installed: run `apt-get install chromium chromium-driver`"
        )
    options = ChromeOptions()
    options.binary_location = chromium
    # --no-sandbox: Chromium's sandbox does not work as root, for example in a container.
    for flag in ("--headless=new", "--no-sandbox", "--disable-background-networking", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(executable_path=chromedriver))


def resize(driver: Chrome, width: int, height: int, scale: float = 1) -> None:
    """Set the size of the page, in CSS pixels, independent of the window's smallest size."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(driver: Chrome, scheme: str) -> None:
    """Emulate the system's preference for a "light" or "dark" page."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
