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
from tests.jobs.runs import COMMAND, finished, interrupted, references, submitted
from tests.sinks.formats import CSV
from tests.sources.conftest import touch

OTHER = replace(COMMAND, arguments=("other",))
REMEDY = "give --overwrite to replace it, or choose another place with -o"
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


def test_a_command_may_run_again_whether_it_was_finished_or_not(folder: Path) -> None:
    touch("in/a.png")
    interrupted("in")
    assert runs_of(COMMAND) == 1
    finished("in")
    assert runs_of(COMMAND) == 0, "it begins anew"
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
    assert refused(other) == (
        "'x.csv' is being written by another command that was interrupted with 2 rows, `classify in --top 5` in "
        f"'/home/a' ({difference}): run that command again to resume it, {REMEDY}"
    )
    finished("in", command=command)
    assert refused(other) == f"'x.csv' exists, and it is not this command's ({difference}): {REMEDY}"
    assert runs_of(other, overwrite=True) == 0
    assert runs_of(other) == 0


def test_another_command_that_has_no_rows_yet_is_in_nobodys_way(folder: Path) -> None:
    touch("in/a.png")
    with closing(open_state("x.csv", COMMAND, CSV)) as state:
        submitted(state, references("in"))
    assert runs_of(OTHER) == 0


@pytest.mark.parametrize("name", ["x.csv", "x.csv.part"])
def test_a_file_that_no_command_of_ours_wrote_is_not_replaced_unless_it_is_empty(folder: Path, name: str) -> None:
    touch(name)
    assert runs_of(COMMAND) == 0
    Path(name).write_text("precious")
    assert refused(COMMAND) == f"{name!r} exists, and it is not this command's: {REMEDY}"
    assert os.listdir() == [name], "a refusal leaves nothing behind"
    assert runs_of(COMMAND, overwrite=True) == 0


def test_a_file_that_somebody_changed_is_not_replaced(folder: Path) -> None:
    touch("in/a.png")
    finished("in")
    Path("x.csv").write_text(Path("x.csv").read_text().replace(",7,", ",1,"))
    assert refused(COMMAND) == f"'x.csv' exists, and it was changed since this command wrote it: {REMEDY}"
    assert "--retry-errors" not in refused(COMMAND, retry_errors=True)
    os.unlink("x.csv")
    assert runs_of(COMMAND) == 0, "a file that was removed is made anew"


def test_with_overwrite_an_interrupted_command_can_be_resumed_without_it(folder: Path) -> None:
    touch("in/a.png")
    Path("x.csv").write_text("precious")
    interrupted("in")  # with --overwrite
    assert runs_of(COMMAND) == 1


def test_a_database_is_added_to_whoever_made_it(folder: Path) -> None:
    touch("in/a.png")
    Path("x.db").write_bytes(b"as if it were one")
    assert runs_of(COMMAND, "x.db", FORMATS["db"]) == 0
    interrupted("in", path="x.db")
    assert "interrupted with 1 row" in refused(OTHER, "x.db", FORMATS["db"])


def test_without_rows_there_are_no_errors_to_retry(folder: Path) -> None:
    message = (
        "--retry-errors needs the rows of this command in 'x.csv', and there are none: run it without --retry-errors"
    )
    assert refused(COMMAND, retry_errors=True) == message
    touch("in/a.png")
    finished("in")
    assert runs_of(COMMAND, retry_errors=True) == 1
    os.unlink("x.csv")
    assert refused(COMMAND, retry_errors=True) == message
    assert runs_of(COMMAND) == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_command_that_is_killed_while_it_replaces_its_file_may_run_again(
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
    assert refused(OTHER).startswith("'x.csv' is being written by another command that was interrupted with 1 row")


def test_a_state_that_can_not_be_understood_is_refused_and_not_guessed_at(folder: Path) -> None:
    touch("in/a.png")
    interrupted("in")
    whole = Path(STATE).read_bytes()
    Path(STATE).write_bytes(b"\0" * 20 + whole[20:])
    assert refused(COMMAND) == f"the resume state of 'x.csv', {STATE!r}, is damaged: {REMEDY}"
    with closing(open_state("x.csv", COMMAND, CSV, overwrite=True)) as state:
        state._records.clear()
        state._records.append(1, b'{"v": 2, "something": "new"}')
        submitted(state, references("in"))
    assert refused(COMMAND) == (
        f"{STATE!r} has version 2, and this program reads version 1: discard it with --overwrite, or choose another "
        "file with -o"
    )
    assert runs_of(COMMAND, overwrite=True) == 0


def test_the_state_lies_beside_the_file_that_a_link_leads_to(folder: Path) -> None:
    touch("in/a.png", "large/x.csv")
    os.symlink("large/x.csv", "x.csv")
    finished("in")
    assert sorted(os.listdir("large")) == [STATE, "x.csv"]
    assert sorted(os.listdir()) == ["in", "large", "x.csv"]
    assert state_path("large/x.csv") == f"large/{STATE}"


def test_a_place_where_no_state_can_be_written_is_said_with_what_to_do(
    folder: Path, as_nobody: Callable[[Path], AbstractContextManager[None]]
) -> None:
    os.mkdir("read-only", mode=0o555)
    with as_nobody(folder), pytest.raises(OutputFailed) as error:
        open_state("read-only/x.csv", COMMAND, CSV)
    assert str(error.value) == (
        f"'read-only/{STATE}' can't be written: Permission denied; choose another place with -o"
    )
    with pytest.raises(OutputFailed, match=r"the folder 'gone' does not exist; make it, or choose another place "):
        open_state("gone/x.csv", COMMAND, CSV)


def test_a_command_that_ends_before_it_submits_leaves_nothing_behind(folder: Path) -> None:
    with closing(open_state("x.csv", COMMAND, CSV)) as state, closing(OwnFile("x.csv", CSV, state)):
        assert sorted(os.listdir()) == [STATE, "x.csv.part"]
    assert os.listdir() == []


def test_a_second_command_for_the_same_file_reads_nothing_until_the_first_has_ended(folder: Path) -> None:
    """The second command gets the lock right after the first one has finished, and finds its rows."""
    touch("in/a.png", "in/b.png")
    with closing(open_state("x.csv", COMMAND, CSV)):
        for command in (COMMAND, OTHER):
            with pytest.raises(OutputFailed, match=rf"^another command is writing .*'{STATE}'"):
                open_state("x.csv", command, CSV)
    finished("in", errors=[0])
    assert runs_of(COMMAND, retry_errors=True) == 1
    with closing(open_state("x.csv", COMMAND, CSV, retry_errors=True)) as state:
        assert [len(done.batch) for done, _ in state.runs[0].done()] == [2]


def test_a_command_that_was_killed_is_in_nobodys_way(folder: Path) -> None:
    program = "import sys; from pigeonhole.jobs.ownership import open_state; from tests.jobs.runs import COMMAND; "
    program += "from tests.sinks.formats import CSV; "
    program += "state = open_state('x.csv', COMMAND, CSV); print(flush=True); sys.stdin.read()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) as other:  # type: ignore[call-overload]
        other.stdout.readline()
        with pytest.raises(OutputFailed, match="another command is writing"):
            open_state("x.csv", COMMAND, CSV)
        other.kill()
    assert runs_of(COMMAND) == 0
