"""Part of `make docs`: write the pages of docs/reference/; a test compares them."""

from scripts.reference.pages import FOLDER, PAGES

for name, written in PAGES.items():
    (FOLDER / name).write_text(written(), encoding="utf-8")
