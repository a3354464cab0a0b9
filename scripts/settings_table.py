"""Part of `make docs`: writes the table of settings into the README; a test compares them."""

from dataclasses import fields
from pathlib import Path

from pigeonhole.settings import ENV_PREFIX, Settings
from scripts.document import replaced

README = Path(__file__).resolve().parent.parent / "README.md"


def table() -> str:
    """Give the settings as a table in Markdown."""
    rows = [f"| `{ENV_PREFIX}{f.name.upper()}` | {_shown(f.default)} | {f.metadata['doc']} |" for f in fields(Settings)]
    return "\n".join(["| variable | default | |", "| --- | --- | --- |", *rows]) + "\n"


def written(text: str) -> str:
    """Give a README with today's table in its place."""
    return replaced(text, "settings", table())


def _shown(value: object) -> str:
    return f"`{value}`" if value != "" else ""


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
