"""Fixtures for members of archives: a reader, and what it opens and reads."""

import os
from pathlib import Path

import pytest

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.sources.beneath import open_beneath
from pigeonhole.sources.members import archives
from tests.sources.archives.packed import MAX_BYTES


@pytest.fixture
def reader(tmp_path: Path) -> ImageReader:
    return ImageReader(str(tmp_path), Preprocessing("stretch", 28, 28, 1), MAX_BYTES, 1_000_000)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the archives that are opened."""
    paths = []

    def opening(root: str, path: str) -> int:
        paths.append(path)
        return open_beneath(root, path)

    monkeypatch.setattr(archives, "open_beneath", opening)
    return paths


@pytest.fixture
def read_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of bytes of each read."""
    sizes = []
    original_pread = os.pread

    def pread(handle: int, size: int, offset: int) -> bytes:
        data = original_pread(handle, size, offset)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", pread)
    return sizes
