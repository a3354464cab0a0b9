"""The wheel and the source archive contain all files of the four packages, and nothing else."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.tree import tracked

PACKAGES = ("pigeonhole/", "producer/", "worker/", "training/")
OURS = {path for path in tracked() if path.startswith(PACKAGES)}


@pytest.fixture(scope="session")
def wheel(built: Path) -> set[str]:
    (path,) = built.glob("*.whl")
    return set(zipfile.ZipFile(path).namelist())


@pytest.fixture(scope="session")
def source(built: Path) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


@pytest.mark.parametrize("suffix", [".py", ".lua", "py.typed", ".css", ".html", ".js", ".safetensors"])
def test_the_checkout_has_files_of_each_kind(suffix: str) -> None:
    assert any(path.endswith(suffix) for path in OURS)


def test_the_wheel_contains_every_file_of_the_packages_and_no_other(wheel: set[str]) -> None:
    assert {path for path in wheel if ".dist-info/" not in path} == OURS


def test_the_wheel_contains_the_licence_and_the_command(wheel: set[str]) -> None:
    own = {path.partition(".dist-info/")[2] for path in wheel - OURS}
    assert {"licenses/LICENSE", "entry_points.txt", "METADATA"} <= own


def test_the_source_archive_contains_the_files_of_a_build_and_no_tests(source: set[str]) -> None:
    generated = {path for path in source if ".egg-info/" in path} | {"PKG-INFO", "setup.cfg"}
    assert source - generated == OURS | {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml"}
