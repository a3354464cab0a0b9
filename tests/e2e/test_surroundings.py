"""A worker beside other projects: their environment variables, and their packages of the same names."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery.bin.celery import celery as celery_program

import worker
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.redis.client import connect
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import Settings
from tests.conftest import wait_for
from tests.e2e.conftest import Run, command
from tests.ledger.conftest import Server
from tests.messages import check_message

SCRIPT = str(Path(sys.executable).parent / "pigeonhole")
NAMES = ("worker", "producer", "training", "celery", "billiard", "redis", "kombu", "torch")
#: The output of Python if one of them is imported.
IMPORTED = "imported from the user"


def celery_variables() -> list[str]:
    """Return the environment variables from which `celery worker` takes options."""
    worker_command = celery_program.commands["worker"]
    named = {f"CELERY_WORKER_{parameter.name}" for parameter in worker_command.params}
    own = {str(parameter.envvar) for parameter in celery_program.params if parameter.envvar}
    groups = {f"CELERY_{parameter.name}" for parameter in celery_program.params}
    brokers = {"CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"}
    return sorted(name.upper() for name in named | own | groups | brokers)


@pytest.fixture
def foreign_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return the Redis of another project."""
    server = Server(tmp_path_factory.mktemp("theirs"))
    yield server
    server.kill()


@pytest.fixture
def surroundings(foreign_redis: Server) -> dict[str, str]:
    """Return the environment of another project: each of Celery's variables has the URL of its Redis."""
    return dict.fromkeys(celery_variables(), f"redis+socket://{foreign_redis.socket}")


@pytest.fixture
def crowded(home: Path) -> Path:
    """Return a working folder with modules that must not be imported."""
    for name in NAMES:
        (home / name).mkdir()
        (home / name / "__init__.py").write_text(f"raise SystemExit({IMPORTED!r})\n")
    return home


def test_the_command_line_of_celery_has_the_expected_variables() -> None:
    assert {"APP", "BROKER_URL", "CONFIG_MODULE", "LOADER", "CELERY_WORKER_CONCURRENCY"} <= set(celery_variables())


def test_a_worker_ignores_the_variables_of_another_celery_project(
    foreign_redis: Server,
    surroundings: dict[str, str],
    brokered: Run,
    start_worker: Callable[..., object],
) -> None:
    start_worker(**surroundings)
    assert brokered("classify", "samples/003b50.png", "-q").returncode == 0
    assert connect(foreign_redis.url).dbsize() == 0


def test_an_embedded_run_ignores_the_variables_of_another_celery_project(
    foreign_redis: Server, surroundings: dict[str, str], embedded: Run
) -> None:
    run = embedded("classify", "samples/003b50.png", "-q", env=os.environ | surroundings)
    assert run.returncode == 0, run.stderr
    assert connect(foreign_redis.url).dbsize() == 0


@pytest.mark.parametrize("program", [[SCRIPT], command()], ids=["script", "module"])
def test_a_worker_runs_in_a_folder_with_packages_of_the_same_names(
    program: list[str], crowded: Path, tmp_path: Path, settings: Settings, brokered: Run
) -> None:
    line, log = [*program, "worker", "--processes", "2", "--log-level", "INFO"], tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            line, cwd=crowded, env=os.environ | settings.to_environment(), stdout=file, stderr=file
        )
    try:
        wait_for(
            lambda: process.poll() is not None or any(one.processes == 2 for one in Workers(settings).alive()),
            f"the worker: {log}",
        )
        assert brokered("classify", "samples/003b50.png", "-q").returncode == 0
    finally:
        process.terminate()
        process.wait()
    assert IMPORTED not in log.read_text()
    assert len(log.read_text().splitlines()) <= 20  # as root, Celery's warning about root has 9


def test_an_embedded_run_works_in_a_folder_with_packages_of_the_same_names(crowded: Path) -> None:
    line = [SCRIPT, "classify", "samples/003b50.png", "-q"]
    run = subprocess.run(line, cwd=crowded, capture_output=True, timeout=100, check=False)
    assert (run.returncode, run.stderr) == (0, b"")


@pytest.mark.parametrize("program", [[SCRIPT], command()], ids=["script", "module"])
@pytest.mark.parametrize("name", ["worker", "producer", "training"])
def test_a_foreign_package_that_python_finds_first_is_refused_with_both_files(
    name: str, program: list[str], tmp_path: Path, settings: Settings
) -> None:
    foreign = tmp_path / name / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text(f"raise SystemExit({IMPORTED!r})\n")
    environment = os.environ | settings.to_environment() | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [*program, "worker"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    ours = Path(worker.__file__).parent.parent / name / "__init__.py"
    assert run.returncode == 2
    check_message(run.stderr, str(foreign), repr(name), str(ours), "PYTHONPATH")
    assert run.stderr.count("\n") == 1
    assert Ledger(settings).statuses() == []


def test_a_client_refuses_a_foreign_package_for_its_embedded_worker(home: Path, tmp_path: Path) -> None:
    """The host program may have a package `worker`; only PYTHONPATH reaches the processes that it starts."""
    (tmp_path / "worker.py").write_text(f"raise SystemExit({IMPORTED!r})\n")
    program = (
        "import pigeonhole\n"
        "with pigeonhole.Client(broker_url='') as client:\n"
        "    try:\n"
        "        list(client.classify(['samples/003b50.png']))\n"
        "    except pigeonhole.UsageError as exc:\n"
        "        print(exc)\n"
    )
    line = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run(line, cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False)
    check_message(run.stdout, str(tmp_path / "worker.py"), "'worker'")
