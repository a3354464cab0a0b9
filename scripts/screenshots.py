"""`make screenshots`: classify the samples, write a report of them, and take pictures of it for the docs."""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome

from scripts.chromium import prefer, resize, start_chromium

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def make_report(folder: Path) -> Path:
    """Classify the samples as a user would, with the shipped model, and return the path of a report of the rows."""
    shutil.copytree(ROOT / "samples", folder / "samples")
    shutil.copy(ROOT / "samples-labels.csv", folder)
    report = ["report", "results.db", "-o", "report.html", "--truth", "samples-labels.csv"]
    for arguments in (["classify", "samples", "-o", "results.db"], report):
        run = subprocess.run([sys.executable, "-m", "pigeonhole", *arguments], cwd=folder, check=False)
        if run.returncode not in (0, 3):  # 3: three samples are error rows on purpose
            sys.exit(f"`pigeonhole {' '.join(arguments)}` ended with {run.returncode}")
    return folder / "report.html"


def take(driver: Chrome, name: str) -> None:
    """Write a picture of the browser's page to docs/, as a small PNG."""
    driver.execute_async_script(
        "const done = arguments[0]; Promise.all([...document.images].map((one) => one.decode().catch(() => 0)))"
        ".then(() => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    file = DOCS / f"report-{name}.png"
    picture.save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}: {picture.width} x {picture.height}, {file.stat().st_size:,} bytes")


def main() -> None:
    """Take all pictures of the report."""
    try:
        driver = start_chromium()
    except FileNotFoundError as exc:
        sys.exit(str(exc))
    try:
        with tempfile.TemporaryDirectory() as folder:
            report = make_report(Path(folder)).as_uri()
            for name, scheme, size in (("light", "light", (1280, 900, 1)), ("phone", "light", (390, 844, 2))):
                prefer(driver, scheme)
                resize(driver, *size)
                driver.get(report)
                take(driver, name)
            resize(driver, 1280, 900)
            driver.get(f"{report}#label=6")
            driver.find_element("id", "all").click()
            driver.execute_script("document.getElementById('filters').scrollIntoView()")
            take(driver, "several")
            prefer(driver, "dark")
            driver.get(report)
            driver.find_element("id", "review").click()
            take(driver, "review")
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
