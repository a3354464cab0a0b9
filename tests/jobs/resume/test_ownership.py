"""Ownership of FILE: which command may replace it, and that only one command at a time writes it."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pigeonhole.errors import OutputFailed, UsageError
from pigeonhole.jobs.ownership import OwnFile, open_state, state_path
from pigeonhole.jobs.state import Command
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.registry import FORMATS
from tests.conftest import ROOT
from tests.jobs.resume.runs import COMMAND, finished, interrupted, references, submitted
from tests.messages import check_message
from tests.sinks.formats import CSV
from tests.sources.conftest import touch

OTHER = replace(COMMAND, arguments=("other",))
#: The options that each refusal names.
REMEDY = ("--overwrite", "-o")
STATE = ".x.csv.pigeonhole"


def refused(command: Command, path: str = "x.csv", format: Format = CSV, **options: Any) -> str:
    """Return the error of a command that may not write FILE."""
    with pytest.raises(UsageError) as error:
        open_state(path, command, format, **options)
    return str(error.value)


def runs_of(command: Command, path: str = "x.csv", format: Format = CSV, **options: Any) -> int:
    """Return the number of earlier runs that a command resumes."""
    with closing(open_state(path, command, format, **options)) as state:
        return len(state.runs)


def test_a_finished_or_interrupted_command_can_run_again(folder: Path) -> None:
    touch("in/a.png")
    interrupted("in")
    assert runs_of(COMMAND) == 1
    finished("in")
    assert runs_of(COMMAND) == 0, "the command starts again"
    assert Path("x.csv").exists()
    assert runs_of(COMMAND) == 0


def test_a_run_that_replaces_the_commands_own_file_can_be_interrupted_and_resumed(folder: Path) -> None:
    touch("in/a.png")
    finished("in")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        submitted(state, references("in"))
    assert runs_of(COMMAND) == 1


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"name": "wait"}, "the command was 'classify' and is now 'wait'"),
        ({"arguments": ("in", "b")}, "SOURCE was 'in' and is 'in b' now"),
        ({"null_separated": True}, "-0 was not given and is given now"),
        ({"folder": "/home/b"}, "the working folder was '/home/a' and is '/home/b' now"),
        ({"image_root": "/home"}, "PIGEONHOLE_IMAGE_ROOT was '/' and is '/home' now"),
        ({"options": ("--top", "3")}, "--top was '5' and is '3' now"),
        ({"options": ()}, "--top was '5' and is not given now"),
        (
            {"options": ("--top", "5", "--label-map", "sha256:0123456789abcdef")},
            "--label-map was not given and is '0123456789ab' now",
        ),
    ],
)
def test_the_file_and_the_rows_of_another_command_are_not_replaced(
    folder: Path, change: dict[str, object], difference: str
) -> None:
    touch("in/a.png", "in/b.png")
    command = replace(COMMAND, options=("--top", "5"))
    interrupted("in", command=command)
    other = replace(command, **change)  # type: ignore[arg-type]
    check_message(refused(other), "'x.csv'", "2 rows", "`classify in --top 5` in '/home/a'", f"({difference})", *REMEDY)
    finished("in", command=command)
    check_message(refused(other), "'x.csv' exists", f"({difference})", *REMEDY)
    assert runs_of(other, overwrite=True) == 0
    assert runs_of(other) == 0


def test_a_command_without_rows_does_not_block_another(folder: Path) -> None:
    touch("in/a.png")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        submitted(state, references("in"))
    assert runs_of(OTHER) == 0


@pytest.mark.parametrize("name", ["x.csv", "x.csv.part"])
def test_a_foreign_file_is_replaced_only_if_it_is_empty(folder: Path, name: str) -> None:
    touch(name)
    assert runs_of(COMMAND) == 0
    Path(name).write_text("precious")
    check_message(refused(COMMAND), f"{name!r} exists", *REMEDY)
    assert os.listdir() == [name], "a refusal leaves no files"
    assert runs_of(COMMAND, overwrite=True) == 0


def test_a_changed_file_is_not_replaced(folder: Path) -> None:
    touch("in/a.png")
    finished("in")
    Path("x.csv").write_text(Path("x.csv").read_text().replace(",7,", ",1,"))
    check_message(refused(COMMAND), "'x.csv' exists", "changed", *REMEDY)
    assert "--retry-errors" not in refused(COMMAND, retry_errors=True)
    os.unlink("x.csv")
    assert runs_of(COMMAND) == 0, "a removed file is written again"


def test_a_command_that_was_started_with_overwrite_resumes_without_it(folder: Path) -> None:
    touch("in/a.png")
    Path("x.csv").write_text("precious")
    interrupted("in")  # with --overwrite
    assert runs_of(COMMAND) == 1


def test_rows_are_added_to_any_database(folder: Path) -> None:
    touch("in/a.png")
    Path("x.db").write_bytes(b"as if it were one")
    assert runs_of(COMMAND, "x.db", FORMATS["db"]) == 0
    interrupted("in", path="x.db")
    assert "interrupted with 1 row" in refused(OTHER, "x.db", FORMATS["db"])


def test_retry_errors_without_earlier_rows_is_refused(folder: Path) -> None:
    message = refused(COMMAND, retry_errors=True)
    check_message(message, "'x.csv'", "without --retry-errors")
    touch("in/a.png")
    finished("in")
    assert runs_of(COMMAND, retry_errors=True) == 1
    os.unlink("x.csv")
    assert refused(COMMAND, retry_errors=True) == message
    assert runs_of(COMMAND) == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_command_that_is_killed_while_it_replaces_its_file_can_run_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    touch("in/a.png")
    finished("in")
    real = os.replace

    def killed(part: str, path: str) -> None:
        if when == "after":
            real(part, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            finished("in")
    assert runs_of(COMMAND) == 1
    check_message(refused(OTHER), "'x.csv'", "interrupted with 1 row")


def test_a_damaged_or_newer_resume_state_is_refused(folder: Path) -> None:
    touch("in/a.png")
    interrupted("in")
    whole = Path(STATE).read_bytes()
    Path(STATE).write_bytes(b"\0" * 20 + whole[20:])
    check_message(refused(COMMAND), "'x.csv'", f"{STATE!r}, is damaged", *REMEDY)
    with closing(open_state("x.csv", COMMAND, CSV, overwrite=True)) as state:
        state._records.clear()
        state._records.append(1, b'{"v": 2, "something": "new"}')
        submitted(state, references("in"))
    check_message(refused(COMMAND), f"{STATE!r} has version 2", "version 1", *REMEDY)
    assert runs_of(COMMAND, overwrite=True) == 0


def test_the_resume_state_is_beside_the_target_of_a_link(folder: Path) -> None:
    touch("in/a.png", "large/x.csv")
    os.symlink("large/x.csv", "x.csv")
    finished("in")
    assert sorted(os.listdir("large")) == [STATE, "x.csv"]
    assert sorted(os.listdir()) == ["in", "large", "x.csv"]
    assert state_path("large/x.csv") == f"large/{STATE}"


def test_a_folder_without_write_access_is_refused_with_the_remedy(
    folder: Path, as_nobody: Callable[[Path], AbstractContextManager[None]]
) -> None:
    os.mkdir("read-only", mode=0o555)
    with as_nobody(folder), pytest.raises(OutputFailed) as error:
        open_state("read-only/x.csv", COMMAND, CSV)
    check_message(error.value, f"'read-only/{STATE}'", "Permission denied", "with -o")
    with pytest.raises(OutputFailed, match=r"'gone'.* with -o"):
        open_state("gone/x.csv", COMMAND, CSV)


def test_a_command_that_ends_before_it_submits_leaves_no_files(folder: Path) -> None:
    with closing(open_state("x.csv", COMMAND, CSV)) as state, closing(OwnFile("x.csv", CSV, state)):
        assert sorted(os.listdir()) == [STATE, "x.csv.part"]
    assert os.listdir() == []


def test_a_second_command_for_the_same_file_is_refused_until_the_first_has_ended(folder: Path) -> None:
    """The second command gets the lock right after the first one has finished, and finds its rows."""
    touch("in/a.png", "in/b.png")
    with closing(open_state("x.csv", COMMAND, CSV)):
        for command in (COMMAND, OTHER):
            with pytest.raises(OutputFailed, match=rf"another command .*'{STATE}'"):
                open_state("x.csv", command, CSV)
    finished("in", errors=[0])
    assert runs_of(COMMAND, retry_errors=True) == 1
    with closing(open_state("x.csv", COMMAND, CSV, retry_errors=True)) as state:
        assert [len(done.batch) for done, _ in state.runs[0].done()] == [2]


def test_a_killed_command_does_not_block_another(folder: Path) -> None:
    program = (
        "import sys; from pigeonhole.jobs.ownership import open_state; from tests.jobs.resume.runs import COMMAND; "
    )
    program += "from tests.sinks.formats import CSV; "
    program += "state = open_state('x.csv', COMMAND, CSV); print(flush=True); sys.stdin.read()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) as other:  # type: ignore[call-overload]
        other.stdout.readline()
        with pytest.raises(OutputFailed, match=f"another command .*'{STATE}'"):
            open_state("x.csv", COMMAND, CSV)
        other.kill()
    assert runs_of(COMMAND) == 0
