"""Write the tables in documents that are generated from the code, for `make docs`; a test compares them."""

from dataclasses import fields
from pathlib import Path

from pigeonhole.errors import ErrorKind
from pigeonhole.settings import ENV_PREFIX, Settings
from scripts.document import replaced

ROOT = Path(__file__).resolve().parent.parent


def settings() -> str:
    """Return the table of settings in Markdown."""
    rows = [f"| `{ENV_PREFIX}{f.name.upper()}` | {_shown(f.default)} | {f.metadata['doc']} |" for f in fields(Settings)]
    return "\n".join(["| variable | default | |", "| --- | --- | --- |", *rows]) + "\n"


def error_kinds() -> str:
    """Return the table of error kinds in Markdown."""
    return "\n".join(["| kind | meaning |", "| --- | --- |", *(f"| `{k}` | {k.meaning} |" for k in ErrorKind)]) + "\n"


#: Document → the name of its generated part, and the function that returns the table.
TABLES = {"README.md": ("settings", settings), "docs/bad-input.md": ("error kinds", error_kinds)}


def written(document: str) -> str:
    """Return the text of a document with a new table.

    Args:
        document: The path of the document, a key of `TABLES`.
    """
    name, table = TABLES[document]
    return replaced((ROOT / document).read_text(encoding="utf-8"), name, table())


def _shown(value: object) -> str:
    return f"`{value}`" if value != "" else ""


if __name__ == "__main__":
    for document in TABLES:
        (ROOT / document).write_text(written(document), encoding="utf-8")
