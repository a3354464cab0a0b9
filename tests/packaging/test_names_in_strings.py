"""Modules and files that strings and documents name exist; no other check finds a name that is out of date."""

import ast
import re
import textwrap
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache

import pytest

from tests.conftest import ROOT
from tests.packaging.tree import texts, tracked

OURS = r"(?:pigeonhole|producer|worker|training|tests|scripts|benchmarks)"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: Strings that look like a module's name, but are something else.
NOT_MODULES = {"pigeonhole.classify", "pigeonhole.job"}  # a task's name; the key of a Parquet file's metadata
#: Files of version 0.2 that docs/experiments.md names as gone.
GONE = {f"scripts/{name}.py" for name in ("doubt", "time_to_99")}
#: Documents to check, without CHANGELOG.md, which names things of earlier versions.
DOCUMENTS = {
    path: text
    for path, text in texts(".md", ".sh", ".toml", ".yml", "Makefile", "Dockerfile").items()
    if path != "CHANGELOG.md"
}


def exists(name: str) -> bool:
    """Return whether a dotted path is a module of ours, or a name in one."""
    if name in NOT_MODULES or re.search(r"\.(py|md|log)$", name):
        return True
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path, rest = "/".join(parts[:length]), parts[length:]
        file = next((file for file in (f"{path}.py", f"{path}/__init__.py") if (ROOT / file).is_file()), None)
        if file is not None:
            return not rest or rest[0] in bound(file)
        if (ROOT / path).is_dir():  # such as scripts/, which is not a package
            return not rest
    return False


@cache
def bound(file: str) -> frozenset[str]:
    """Return every name that a module binds, also inside functions and classes."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return frozenset(names)


def strings(code: str) -> Iterator[str]:
    """Yield the strings of a program: Celery's `include`, arguments of `-m`, targets of patches, and programs."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def imported(code: str) -> Iterator[str]:
    """Yield the names that a program in a string imports; none if the string is not a program."""
    try:
        tree = ast.parse(textwrap.dedent(code))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}".removesuffix(".*") for alias in node.names)


def test_modules_that_strings_name_exist() -> None:
    missing = []
    for path, text in texts(".py").items():
        for string in strings(text):
            names = [string] if re.fullmatch(rf"{OURS}(\.\w+)+(:\w+)?", string) else []
            names = [name.replace(":", ".") for name in names]
            if "import " in string:
                names += [name for name in imported(string) if re.match(rf"{OURS}\b", name)]
            missing += [f"{path}: {name}" for name in names if not exists(name)]
    assert missing == []


def test_modules_that_documents_and_comments_name_exist() -> None:
    missing = []
    for path, text in (DOCUMENTS | texts(".py")).items():
        names = re.findall(rf"-m ({OURS}(?:\.\w+)*)\b", text)
        names += re.findall(rf"`({OURS}(?:\.\w+)+)[`(]", text)
        missing += [f"{path}: {name}" for name in names if not exists(name)]
    assert missing == []


def test_imports_in_documents_work() -> None:
    lines = [
        (path, module, name.strip())
        for path, text in DOCUMENTS.items()
        for module, names in re.findall(rf"\bfrom ({OURS}[\w.]*) import (\w+(?:, \w+)*)", text)
        for name in names.split(",")
    ]
    assert lines
    assert [line for line in lines if not exists(f"{line[1]}.{line[2]}")] == []


def test_files_that_documents_and_comments_name_exist() -> None:
    named = rf"(?<![\w./-])((?:{OURS}|deploy|docs)/[\w./-]+\.[a-z0-9]+)\b"
    missing = [
        f"{path}: {name}"
        for path, text in (DOCUMENTS | texts(".py")).items()
        for name in re.findall(named, text)
        if not (ROOT / name).exists() and name not in GONE
    ]
    assert missing == []


def test_tests_that_documents_name_exist() -> None:
    named = [
        (path, file, name)
        for path, text in DOCUMENTS.items()
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    ]
    assert named
    assert [one for one in named if f"def {one[2]}(" not in (ROOT / one[1]).read_text()] == []


def test_modules_that_pyproject_names_exist() -> None:
    names = [entry.replace(":", ".") for entry in PYPROJECT["project"]["scripts"].values()]
    names += [
        module.removesuffix(".*")
        for override in PYPROJECT["tool"]["mypy"]["overrides"]
        for module in override["module"]
        if re.match(OURS, module)
    ]
    assert [name for name in names if not exists(name)] == []


@pytest.mark.parametrize("pattern", PYPROJECT["tool"]["ruff"]["lint"]["per-file-ignores"])
def test_each_part_of_a_pattern_of_ruff_matches_a_file(pattern: str) -> None:
    before, braces, after = re.fullmatch(r"([^{]*)(?:\{(.*)\})?(.*)", pattern).groups()  # type: ignore[union-attr]
    parts = [f"{before}{part}{after}" for part in (braces or "").split(",")]
    assert [part for part in parts if not any(fnmatch(path, part) for path in tracked())] == []
