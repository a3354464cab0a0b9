"""Commands, options, targets, files and tables in the documents are up to date."""

import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from pigeonhole.errors import ExitCode
from pigeonhole.version import DISTRIBUTION
from scripts.reference.pages import FOLDER, PAGES
from tests.conftest import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def commands(text: str, program: str) -> list[list[str]]:
    """Return the command lines of a program in a document's shell blocks, without pipes and redirections."""
    blocks = re.findall(r"```(sh|console)\n(.*?)```", text, re.DOTALL)
    lines = [
        line
        for language, block in blocks
        for line in block.replace("\\\n", " ").splitlines()
        if language == "sh" or line.startswith("$ ")
    ]
    found = [match.group(1) for line in lines for match in re.finditer(rf"(?<!\.py )\b({program} [^|&)#]*)", line)]
    return [shlex.split(line) for line in found]


def headings(text: str) -> set[str]:
    """Return the names under which a document's headings are linked."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@cache
def help_of(*command: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "pigeonhole", *command, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    return run.stdout


ALL_COMMANDS = re.findall(r"^  ([a-z]+)  ", help_of(), re.MULTILINE)


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    assert re.search(rf"Example: .*pigeonhole\s+{command}", help_of(command).replace("\n", " "))


def test_the_program_has_exactly_these_commands() -> None:
    wanted = "classify submit wait status results report resume cancel delete doctor worker train evaluate import "
    wanted += "export inspect"
    assert sorted(ALL_COMMANDS) == sorted(wanted.split())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_in_a_document_exist_with_the_options_they_show(document: Path) -> None:
    for line in commands(document.read_text(), "pigeonhole"):
        command = line[1:2] if not line[1].startswith("-") else []  # else they are the program's own options
        text = help_of(*command)
        options = [word.partition("=")[0] for word in line[1:] if re.fullmatch(r"--?[a-z0-9][a-z-]*(=.*)?", word)]
        missing = [option for option in options if not re.search(rf"(^|\s){re.escape(option)}\b", text)]
        assert not missing, f"{' '.join(line)}: no option {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_make_targets_in_a_document_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {line[1] for line in commands(document.read_text(), "make")} <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_files_and_headings_that_a_document_links_to_exist(document: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", document.read_text()):
        file = document.parent / target if target else document
        assert file.exists(), target
        assert not heading or heading in headings(file.read_text()), f"{target}#{heading}"


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_of_the_reference_are_up_to_date(page: str) -> None:
    assert PAGES[page]() == (FOLDER / page).read_text(), "run `make docs`"


def test_the_reference_has_only_generated_pages() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


def test_the_guide_lists_the_exit_codes_of_the_program() -> None:
    table = (ROOT / "docs" / "guide" / "classify.md").read_text().partition("| exit code | |")[2].partition("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) ", table, re.MULTILINE)] == list(ExitCode)


def test_the_readme_has_at_most_180_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


def test_the_changelog_begins_with_the_current_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1) == version  # type: ignore[union-attr]


def test_make_venv_installs_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    within = {
        extra: set(re.findall(r"[\w-]+", " ".join(re.findall(rf"{DISTRIBUTION}\[(.*?)\]", str(extras[extra])))))
        for extra in extras
    }
    installed = {"dev"}
    while more := set().union(*(within[extra] for extra in installed)) - installed:
        installed |= more
    assert set(extras) - installed == {"bench"}, "only `make bench` needs its large packages"


def test_a_default_in_a_help_text_is_shown_in_brackets() -> None:
    for command, default in (("classify", "digits"), ("worker", "digits"), ("train", "data")):
        assert f"[default: {default}]" in re.sub(r"[│\s]+", " ", help_of(command)), command
