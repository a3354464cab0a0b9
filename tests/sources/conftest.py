"""Fixtures: folders of files for the tests of sources."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Reference, Root
from tests.worker.conftest import classifier, root

__all__ = ["classifier", "root"]

NOBODY = 65_534


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str | bytes) -> None:
    """Create empty files and their folders below the working folder."""
    for name in map(os.fsencode, names):
        os.makedirs(os.path.dirname(name) or b".", exist_ok=True)
        with open(name, "wb"):
            pass


def shown(*sources: str, root: str = "/", null_separated: bool = False) -> list[str]:
    """Return the shown path of each reference."""
    return [path for path, _ in pairs(expand(sources, Root(root), null_separated))]


def pairs(references: Iterator[Reference]) -> list[tuple[str, str]]:
    """Return the shown path of each reference, and its path below the root."""
    return [(reference.shown + reference.path, reference.root + reference.path) for reference in references]


@pytest.fixture
def as_nobody() -> Callable[[Path], AbstractContextManager[None]]:
    """Run the block without root's rights, so that unreadable files can't be read; the folder stays accessible."""

    @contextmanager
    def block(folder: Path) -> Iterator[None]:
        before = os.geteuid()
        if before == 0:
            for above in (folder, *folder.parents):
                if above.stat().st_mode & 0o055 != 0o055:
                    above.chmod(above.stat().st_mode | 0o055)
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(before)

    return block
