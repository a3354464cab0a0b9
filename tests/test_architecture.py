"""Packages import only lower layers, and commands start without heavy imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pigeonhole", "producer", "worker", "training")
#: Exceptions to this rule: producer, worker and training import pigeonhole, and pigeonhole imports none of them.
#: `pigeonhole.embedded` starts `embedded_worker` of pigeonhole/__main__.py in a new process.
EXCEPTIONS = {
    "pigeonhole/__main__.py": ("producer.program", "worker.start"),
    "producer/cli.py": ("worker.cli", "training.cli"),
}
#: What every package may import, beside the modules of `pigeonhole` itself.
SHARED = ("pigeonhole.filesystem",)
#: Sub-package → the sub-packages of its own package that it may import, beside the modules of the package itself.
LAYERS = {
    "pigeonhole/filesystem": (),
    "pigeonhole/sources": (),
    "pigeonhole/sources/members": ("pigeonhole.sources",),
    "pigeonhole/imaging": ("pigeonhole.sources",),
    "pigeonhole/imaging/digits": ("pigeonhole.imaging.decode", "pigeonhole.imaging.preprocessings.digit"),
    "pigeonhole/imaging/preprocessings": (
        *("pigeonhole.imaging.preprocessing", "pigeonhole.imaging.decode"),
        *("pigeonhole.imaging.digits.normalise", "pigeonhole.imaging.digits"),
    ),
    "pigeonhole/models": ("pigeonhole.imaging",),
    "pigeonhole/models/networks": ("pigeonhole.imaging.preprocessing",),
    "pigeonhole/ledger": ("pigeonhole.sources.reference",),
    "pigeonhole/ledger/wire": ("pigeonhole.sources.reference",),
    "pigeonhole/ledger/redis": (),
    "pigeonhole/ledger/queue": ("pigeonhole.ledger.pieces", "pigeonhole.ledger.redis"),
    "pigeonhole/sinks/folders": ("pigeonhole.sources", "pigeonhole.sinks", "pigeonhole.ledger"),
    "pigeonhole/sinks": ("pigeonhole.sources", "pigeonhole.ledger", "pigeonhole.jobs.summary"),
    "pigeonhole/jobs": (
        *("pigeonhole.sources", "pigeonhole.sinks", "pigeonhole.ledger", "pigeonhole.embedded"),
        *("pigeonhole.models.checkpoint", "pigeonhole.models.record"),  # names of models, and the shipped models
    ),
    "pigeonhole/embedded": ("pigeonhole.ledger",),
    # Synthetic data does not depend on networks.
    "training/synthetic": ("training.datasets.splits", "training.processes"),
    # Files are read before a network is built; without torch, child processes start faster.
    "training/datasets/files": ("training.processes",),
}
HEAVY = ("torch", "torchvision", "numpy", "PIL", "celery", "redis")


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _is_in(name: str, packages: tuple[str, ...]) -> bool:
    return f"{name}.".startswith(tuple(f"{package}." for package in packages))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_itself_and_pigeonhole(package: str) -> None:
    files = _files(package)
    assert files
    wrong = [
        f"{place} imports {name}"
        for file in files
        for name in _imports(file)
        if _is_in(name, PACKAGES)
        and not _is_in(name, ("pigeonhole", package))
        and not _is_in(name, EXCEPTIONS.get(place := str(file.relative_to(ROOT)), ()))
    ]
    assert wrong == []


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_lower_layers(layer: str) -> None:
    package, _, _ = layer.partition("/")
    subpackages = tuple(
        str(folder.parent.relative_to(ROOT)).replace("/", ".") for folder in (ROOT / package).glob("*/__init__.py")
    )
    own = layer.replace("/", ".")
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in (ROOT / layer).glob("*.py")
        for name in _imports(file)
        if _is_in(name, subpackages) and not _is_in(name, (own, *SHARED, *LAYERS[layer]))
    ]
    assert wrong == []


def test_init_files_import_nothing_except_for_the_public_interface() -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("__init__.py"):
            if file != ROOT / "pigeonhole" / "__init__.py":
                assert list(_imports(file)) == [], file


def test_the_public_interface_loads_its_modules_on_first_use() -> None:
    ours = {name for name in _loaded_by("import pigeonhole") if name.startswith(("pigeonhole.", "producer", "worker"))}
    assert ours | (_loaded_by("import pigeonhole") & {*HEAVY, "rich", "typer"}) == {"pigeonhole.errors"}


def _loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "statement", ["from pigeonhole import *", "import producer.report.make, pigeonhole.ledger.wire.messages"]
)
def test_the_producer_never_loads_torch(statement: str) -> None:
    assert not _loaded_by(statement) & {"torch", "torchvision", "numpy", "pandas", "pyarrow", "PIL"}


def test_help_loads_no_heavy_module() -> None:
    assert not _loaded_by("import producer.cli") & set(HEAVY)


def test_a_workers_parent_process_does_not_load_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIGEONHOLE_BROKER_URL", "redis://127.0.0.1:1/0")
    assert "torch" not in _loaded_by("import worker.app")


def test_only_command_modules_print_or_exit() -> None:
    allowed = {
        "cli.py",
        "parser.py",
        "program.py",
        "__main__.py",
        "refusal.py",
        "health.py",
        "supervisor.py",
        "progress.py",
    }
    wrong = [
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in _files(package)
        if file.name not in allowed
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "exit", "sys.exit", "sys.stderr.write")
    ]
    assert wrong == []
