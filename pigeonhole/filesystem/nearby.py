"""Hints for a path that does not exist: the most similar name in the same folder."""

import os
from pathlib import Path

from pigeonhole.filesystem.files import shown
from pigeonhole.text import similar


def nearest(path: Path) -> Path | None:
    """Return the path in the same folder with the most similar name; None if no name is similar."""
    try:
        names = sorted(name for name in os.listdir(path.parent) if not name.startswith("."))
    except OSError:
        return None
    by_lower = {name.lower(): name for name in names}
    near = similar(path.name.lower(), by_lower)
    return path.parent / by_lower[near] if near else None


def missing(path: Path) -> str:
    """Return the beginning of a message about a path that does not exist, with the most similar path."""
    near = nearest(path)
    return f"{shown(path)} does not exist{f'; did you mean {shown(near)}?' if near else '.'}"
