"""The pages of docs/reference/, each with the function that returns its text."""

from collections.abc import Callable
from pathlib import Path

from scripts.reference import commands, errors, metrics, python, redis_users, settings

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
#: File name → the function that returns the page.
PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands.written,
    "errors.md": errors.written,
    "metrics.md": metrics.written,
    "python.md": python.written,
    "redis-users.md": redis_users.written,
    "settings.md": settings.written,
}
