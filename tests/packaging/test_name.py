"""The distribution's name is in pyproject.toml and in `pigeonhole.version`, and nowhere else."""

import re
import tomllib
from pathlib import Path

import pytest

from pigeonhole import version
from pigeonhole.version import DISTRIBUTION, VERSION, install_hint
from tests.conftest import ROOT
from tests.packaging.tree import texts

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_installed_name_and_version_are_those_of_pyproject() -> None:
    assert (PROJECT["name"], PROJECT["version"]) == (DISTRIBUTION, VERSION)


def test_an_install_hint_names_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "__file__", "/usr/lib/python3/site-packages/pigeonhole/version.py")
    assert install_hint("worker") == f"pip install '{PROJECT['name']}[worker]'"


def test_in_a_checkout_an_install_hint_names_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert install_hint("worker") == "pip install -e '.[worker]'"
    monkeypatch.chdir(tmp_path)
    assert install_hint("worker") == f"pip install -e '{ROOT}[worker]'"


def test_every_install_hint_names_an_extra_that_exists() -> None:
    named = {extra for text in texts(".py").values() for extra in re.findall(r"install_hint\([\"']([\w-]+)", text)}
    assert "local" in named
    assert named <= set(PROJECT["optional-dependencies"])


def test_only_one_module_contains_the_name_of_the_distribution() -> None:
    assert [path for path, text in texts(".py").items() if PROJECT["name"] in text] == ["pigeonhole/version.py"]


def test_no_command_installs_the_foreign_project_of_the_same_name() -> None:
    foreign = re.compile(r"pip install[^\n]*[ '\"]pigeonhole(\[|\b(?!-))")
    found = [path for path, text in texts(".py", ".md", ".sh", ".toml", ".yml").items() if foreign.search(text)]
    assert found == []


def test_each_install_command_from_the_index_mentions_the_first_release() -> None:
    lines = [line for text in texts(".md").values() for line in text.splitlines() if f"'{DISTRIBUTION}[" in line]
    assert lines
    assert all("after the first release" in line for line in lines)
