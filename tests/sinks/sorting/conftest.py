"""Each test of sorting runs in an empty folder, and must leave no temporary files."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def without_temporary_files(folder: Path) -> Iterator[None]:
    """Run the test in an empty folder, and check that no temporary file is left in it."""
    yield
    assert not list(folder.rglob("*.new")) + list(folder.rglob("*.copying"))
