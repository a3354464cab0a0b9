"""Files that can not be written, and files of other commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from tests.conftest import ROOT, wait_for
from tests.e2e.conftest import Run, StartWorker, command, leftovers, start
from tests.e2e.resume.runs import create_many_images, interrupt_at_rows, paths
from tests.messages import check_message


def test_another_command_for_the_same_file_is_refused_unless_it_overwrites(
    home: Path, temporary: Path, embedded: Run
) -> None:
    create_many_images(home)
    interrupt_at_rows(start(home, temporary, "classify", "many", "-o", "rows.csv"), home / "rows.csv.part")
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")
    part = (home / "rows.csv.part").read_bytes()
    for other in (["samples/0*"], ["many", "--retry-errors", "-0"], ["samples", "many"]):
        refused = embedded("classify", *other, "-o", "rows.csv")
        assert refused.returncode == 2
        check_message(refused.stderr.decode(), "'rows.csv'", "`classify many`", "--overwrite", "with -o\n")
    assert (home / "rows.csv.part").read_bytes() == part
    fresh = embedded("classify", "samples/0*", "-o", "rows.csv", "--overwrite")
    assert fresh.returncode == 0
    assert len(paths(home / "rows.csv")) == len(list((home / "samples").glob("0*")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--retry-errors"], b"--retry-errors keeps the labels in a file"),
        (
            ["--retry-errors", "-o", "/dev/null"],
            b"--retry-errors keeps the labels in a file",
        ),
        (["--retry-errors", "-o", "x.csv"], b"without --retry-errors"),
        (["--retry-errors", "--overwrite", "-o", "x.csv"], b"drop --overwrite"),
    ],
)
def test_contradictory_options_are_refused_with_the_remedy(embedded: Run, options: list[str], message: bytes) -> None:
    run = embedded("classify", "samples", *options, "--format", "csv")
    assert run.returncode == 2
    assert message in run.stderr


def after(statement: str, *arguments: str) -> list[str]:
    """Return a command line that runs the program after a limit is set on its process."""
    program = (
        f"import ctypes, os, resource, sys; {statement}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    return [sys.executable, "-c", program, *command(*arguments)[1:]]


#: Limits the size of files, as a full disk does.
FULL_DISK = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"

#: Drops CAP_DAC_OVERRIDE on Linux (prctl PR_CAPBSET_DROP), so that file modes apply to root too.
WITHOUT_ROOT_RIGHTS = "ctypes.CDLL(None).prctl(24, 1)"


def test_after_a_full_disk_the_same_command_resumes_once_there_is_room(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    """With a broker, because an embedded Redis would meet the limit too."""
    listed = create_many_images(home, 10)
    start_worker()
    line = ["classify", "many", "-o", "rows.csv"]
    environment = os.environ | settings.to_environment() | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        after(FULL_DISK, *line), cwd=home, env=environment, capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 1
    (status,) = Ledger(settings).statuses()
    assert not status.submitting, "the submission is complete, and the job continues"
    check_message(
        run.stderr.decode(),
        "'rows.csv.part'",
        "File too large",
        f"job {status.job} continues",
        "run the same command again",
    )
    assert b"Traceback" not in run.stderr

    wait_for(lambda: Ledger(settings).status(status.job).state == "finished", "the end of the job")
    assert brokered("results", status.job, "-o", "elsewhere.csv").returncode == 0
    assert paths(home / "elsewhere.csv") == listed
    again = brokered(*line)
    assert again.returncode == 0, again.stderr
    assert f"resuming job {status.job}\n" in again.stderr.decode()
    assert paths(home / "rows.csv") == listed
    assert len(Ledger(settings).statuses()) == 1, "no second job was submitted"
    assert sorted(file.name for file in home.glob("[!.]*")) == ["elsewhere.csv", "many", "rows.csv", "samples"]


def test_a_read_only_folder_is_reported_before_the_submission(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    (home / "taken").mkdir(mode=0o555)
    environment = os.environ | settings.to_environment() | {"PYTHONPATH": str(ROOT)}

    def forbidden(*arguments: str) -> str:
        line = after(WITHOUT_ROOT_RIGHTS, *arguments, "-o", "taken/rows.csv")
        run = subprocess.run(line, cwd=home, env=environment, capture_output=True, timeout=60, check=False)
        assert run.returncode == 1, run.stderr
        return run.stderr.decode()

    state = "taken/.rows.csv.pigeonhole"
    denied = (repr(state), "Permission denied", "with -o")
    check_message(forbidden("classify", "samples"), *denied)
    assert Ledger(settings).statuses() == []
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    start_worker()
    check_message(forbidden("wait", job), *denied)
    assert brokered("wait", job, "-o", "elsewhere.csv", "-q").returncode == 3
    assert len(paths(home / "elsewhere.csv")) == 203


def test_a_second_command_that_writes_the_same_file_is_refused(home: Path, settings: Settings, brokered: Run) -> None:
    environment = os.environ | settings.to_environment()
    line = command("classify", "-", "-o", "rows.csv")
    first = subprocess.Popen(line, cwd=home, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert first.stdin is not None
    first.stdin.write(b"samples/003b50.png\n" * 100)
    first.stdin.flush()
    wait_for(lambda: (home / "rows.csv.part").exists(), "the first command")
    second = brokered("classify", "-", "-o", "rows.csv", input=b"samples/003b50.png\n")
    assert second.returncode == 1
    check_message(second.stderr.decode(), "another command", "'.rows.csv.pigeonhole'", "with -o")
    assert first.poll() is None
    first.kill()
    first.communicate()
