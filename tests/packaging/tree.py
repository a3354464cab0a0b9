"""The files of the checkout: those in git, and new ones that git does not ignore."""

import os
import subprocess
from functools import cache

from tests.conftest import ROOT


@cache
def tracked() -> tuple[str, ...]:
    """Return the paths of all files, relative to the checkout, sorted."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    else:  # an exported tree
        listed = [os.path.relpath(path, ROOT) for path in ROOT.rglob("*") if "__pycache__" not in path.parts]
    kept = (path for path in listed if not path.startswith((".venv", "build/")) and (ROOT / path).is_file())
    return tuple(sorted(kept))


def texts(*suffixes: str) -> dict[str, str]:
    """Return path → text of every file whose name ends with one of the suffixes."""
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in tracked() if path.endswith(suffixes)}
