"""Imports go one way, and what a terminal starts stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: Package → what else of ours it may import. `producer.cli` is the program, which mounts the others' commands.
ALLOWED = {
    "producer": ("producer", "worker.contract"),
    "producer.doctor": ("producer", "worker.contract"),
    # A report's thumbnails are read as a worker reads images, within the same limits.
    "producer.report": (
        *("producer", "worker.contract", "worker.images", "training.preprocess", "training.preprocessing"),
    ),
    "worker": (
        *("worker", "training.model", "training.preprocess", "training.preprocessing", "training.checkpoint"),
        *("training.errors", "training.scores"),
    ),
    "worker.contract": ("worker.contract",),
    "training": ("training",),
    # A worker has it in its hot path: numpy and Pillow, and nothing of training.
    "training.digit": ("training.digit", "training.decode", "training.errors", "training.preprocessing"),
    "training.report": ("training",),
    # What makes the pool's pictures knows nothing of networks.
    "training.variety": (
        *("training.variety", "training.data", "training.errors", "training.preprocess", "training.preprocessing"),
        "training.processes",
    ),
    # What becomes of a folder of pictures, before any network; no torch, so that more processes start in a moment.
    "training.folder": (
        *("training.folder", "training.decode", "training.errors", "training.files", "training.preprocess"),
        *("training.preprocessing", "training.processes"),
    ),
}
MOUNTED = ("worker.cli", "training.cli")
HEAVY = ("torch", "torchvision", "numpy", "PIL", "celery", "redis")


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package.replace(".", "/")).glob("*.py"))


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = _files(package)
    assert files
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in _imports(file)
        if name.partition(".")[0] in ("producer", "worker", "training")
        and not f"{name}.".startswith(tuple(f"{allowed}." for allowed in ALLOWED[package]))
        and not (file.name == "cli.py" and package == "producer" and name in MOUNTED)
    ]
    assert wrong == []


@pytest.mark.parametrize("package", [package for package in ALLOWED if package != "producer"])
def test_an_init_file_imports_nothing(package: str) -> None:
    assert list(_imports(ROOT / package.replace(".", "/") / "__init__.py")) == []


def test_the_producers_init_file_loads_what_it_names_only_when_that_is_used() -> None:
    ours = {name for name in _loaded_by("import producer") if name.startswith(("producer.", "worker"))}
    assert ours | (_loaded_by("import producer") & {*HEAVY, "rich", "typer"}) == set()


def _loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "statement", ["from producer import *", "import producer.report.make, worker.contract.messages"]
)
def test_the_producer_never_loads_torch(statement: str) -> None:
    assert not _loaded_by(statement) & {"torch", "torchvision", "numpy", "pandas", "pyarrow", "PIL"}


def test_help_loads_nothing_that_takes_time() -> None:
    assert not _loaded_by("import producer.cli") & set(HEAVY)


def test_a_workers_parent_process_does_not_load_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIGEONHOLE_BROKER_URL", "redis://127.0.0.1:1/0")
    assert "torch" not in _loaded_by("import worker.app")


def test_only_the_command_modules_and_a_workers_refusal_print_or_exit() -> None:
    may = {"cli.py", "program.py", "__main__.py", "refusal.py", "health.py", "keeper.py", "progress.py"}
    wrong = [
        str(file.relative_to(ROOT))
        for package in ALLOWED
        for file in _files(package)
        if file.name not in may
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "exit", "sys.exit", "sys.stderr.write")
    ]
    assert wrong == []
