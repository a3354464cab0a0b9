"""`make outputs`: run the commands of the README and the guide, and write their outputs and pictures into the docs."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from scripts.outputs.folder import HANDS, MNIST, ROOT, prepare
from scripts.outputs.page import Page, parse, shortened, written
from scripts.outputs.run import run, why_not

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]


def record(path: Path, root: Path, real: bool = True) -> bool:
    """Run a page's steps, and write what they print into the page.

    Args:
        path: Path of the page.
        root: Empty folder for its run.
        real: Use the real data beside the checkout, as `folder.prepare` does.

    Returns:
        Whether every step succeeded. If not, the page stays as it is.
    """
    text = path.read_text(encoding="utf-8")
    page = parse(text)
    folder = prepare(root, real)
    result = run(page.steps, root)
    if result.code:
        print(f"{path.name}: exit code {result.code}\n{result.last}", file=sys.stderr)
        return False
    outputs = [
        (step.output, shortened(step.output.lines, result.printed[number]))
        for number, step in enumerate(page.steps)
        if step.output is not None and number in result.printed
    ]
    path.write_text(written(text, outputs), encoding="utf-8")
    for source, picture in page.pictures.items():
        shutil.copy(folder / source, path.parent / picture)
    print(f"{path.name}: {len(outputs)} outputs, {len(page.pictures)} pictures", flush=True)
    for reason in _left(page):
        print(f"    left as it is: {reason}")
    return True


def _left(page: Page) -> list[str]:
    """Return the outputs of a page that are not recorded, each with the reason."""
    shown = [step for step in page.steps if step.output is not None]
    return [f"{step.code}: {reason}" for step in shown if (reason := why_not(step))] + page.left


def main() -> int:
    """Record the pages that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m scripts.outputs", description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path, help="pages to record; all by default")
    pages = [path.resolve() for path in parser.parse_args().pages] or PAGES
    missing = [str(path) for path in (HANDS, MNIST) if not path.is_dir()]
    if missing:
        sys.exit(f"no {' and no '.join(missing)}: the data sets must be beside the checkout")
    succeeded = True
    for path in pages:
        with tempfile.TemporaryDirectory() as root:
            succeeded = record(path, Path(root)) and succeeded
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
