"""Shell completion, as bash, zsh and fish call it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.models.networks.registry import NETWORKS
from pigeonhole.settings import Settings
from tests.ledger.conftest import Clock

Offered = Callable[[str], list[str]]


def offered_by(line: str, folder: Path, environment: dict[str, str]) -> list[str]:
    """Return the completions of bash for the last word of a line."""
    variables = {
        "_PIGEONHOLE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    program = [sys.executable, "-m", "pigeonhole"]
    run = subprocess.run(
        program,
        env=os.environ | environment | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert run.stderr == ""
    return run.stdout.split()


@pytest.fixture
def offered(settings: Settings, tmp_path: Path) -> Offered:
    return lambda line: offered_by(line, tmp_path, settings.to_environment())


@pytest.fixture
def jobs(settings: Settings, clock: Clock) -> list[str]:
    """Return the ids of two jobs, created a minute apart."""
    ledger = Ledger(settings, now=clock)
    first = ledger.create("digits", ())
    clock += 60
    return [first, ledger.create("digits", ())]


@pytest.mark.parametrize(
    "command", ["wait", "status", "results", "resume", "cancel", "delete", "submit --job", "report"]
)
def test_jobs_are_offered_newest_first_and_last(offered: Offered, jobs: list[str], command: str) -> None:
    assert offered(f"pigeonhole {command} ") == ["last", *reversed(jobs)]
    assert offered(f"pigeonhole {command} {jobs[0]}") == [jobs[0]]
    assert offered(f"pigeonhole {command} la") == ["last"]


def test_the_jobs_of_the_broker_on_the_line_are_offered(settings: Settings, jobs: list[str], tmp_path: Path) -> None:
    environment = settings.to_environment() | {"PIGEONHOLE_BROKER_URL": "redis://127.0.0.1:1/0"}
    line = f"pigeonhole wait --broker {settings.broker_url} {jobs[1]}"
    assert offered_by(line, tmp_path, environment) == [jobs[1]]


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:1/0", "http://no-broker"])
def test_without_redis_nothing_is_offered_and_nothing_is_printed(url: str, tmp_path: Path) -> None:
    assert offered_by("pigeonhole wait ", tmp_path, {"PIGEONHOLE_BROKER_URL": url}) == []


def test_shipped_models_and_model_files_are_offered(offered: Offered, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("mine.safetensors", "models/other.safetensors", "photo.png"):
        (tmp_path / name).touch()
    assert offered("pigeonhole classify --model d") == ["digits", "digits-int8"]
    assert offered("pigeonhole classify --model m") == ["mine.safetensors", "models/other.safetensors"]
    assert offered("pigeonhole submit --model models/o") == ["models/other.safetensors"]


def test_networks_are_offered(offered: Offered) -> None:
    assert offered("pigeonhole train --network ") == list(NETWORKS)
