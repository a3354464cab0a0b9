"""How commands end: exit codes, interruptions, and leftovers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from tests.conftest import ROOT, wait_for
from tests.decoder_faults import slow
from tests.e2e.conftest import Run, StartWorker, command, leftovers, start
from tests.messages import check_message


@pytest.mark.parametrize(
    ("number", "part"),
    [
        *((number, "rows") for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)),
        *((number, "start-up") for number in (signal.SIGINT, signal.SIGKILL)),
    ],
)
def test_an_interrupted_embedded_run_leaves_only_whole_rows(
    home: Path, temporary: Path, number: signal.Signals, part: str
) -> None:
    for copy in range(40):
        os.link(home / "samples" / "003b50.png", home / "samples" / f"copy-{copy}.png")
    listed = home / "list"
    listed.write_text("\n".join(str(path) for path in sorted((home / "samples").glob("*.png"))) * 40 + "\n")
    run = start(home, temporary, "classify", "@list", "-o", "rows.csv")
    rows = home / "rows.csv.part"
    if part == "start-up":
        # Not only for the folder: a command that is killed before its supervisor starts leaves that behind, empty.
        wait_for(lambda: any(temporary.glob("*/redis.log")), "the embedded Redis")
    else:
        wait_for(lambda: rows.exists() and rows.stat().st_size > 0, "the first row")
    run.send_signal(number)
    _, stderr = run.communicate(timeout=30)
    assert run.returncode == (-number if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL and part == "rows":
        assert b"run the same command again" in stderr
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")
    assert not (home / "rows.csv").exists()
    if part == "rows":
        assert rows.read_bytes().endswith(b"\n")


def test_an_interrupted_wait_prints_how_to_resume_and_can_be_run_again(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    start_worker(PYTHONPATH=slow(home.parent / "slow"))
    job = brokered("submit", "samples", "--model", "digits-int8", "-q").stdout.decode().strip()
    environment = os.environ | settings.to_environment()
    wait = subprocess.Popen(command("wait", job, "-o", "x 1.csv"), cwd=home, env=environment, stderr=subprocess.PIPE)
    wait_for((home / "x 1.csv.part").exists, "the output file")
    wait.send_signal(signal.SIGINT)
    _, stderr = wait.communicate(timeout=30)
    # Python may end by the signal itself; a shell reports 130 in both cases.
    assert wait.returncode in (130, -signal.SIGINT)
    check_message(stderr.decode(), "interrupted", f"job {job} continues", f"`pigeonhole wait {job} -o 'x 1.csv'`")
    Ledger(settings).cancel(job)
    assert brokered("wait", job, "-o", "x.csv").returncode == 6


@pytest.mark.parametrize("command", ["classify", "submit"])
def test_a_misspelt_model_leaves_no_job_behind(settings: Settings, brokered: Run, command: str) -> None:
    run = brokered(command, "samples", "--model", "digts")
    assert run.returncode == 5
    assert b"'digts'" in run.stderr
    assert Ledger(settings).statuses() == []


def test_a_command_without_a_worker_exits_with_the_remedy_and_the_job_stays(settings: Settings, brokered: Run) -> None:
    run = brokered("classify", "samples")
    assert run.returncode == 5
    check_message(run.stderr.decode(), "'digits'", "`pigeonhole worker`")
    (status,) = Ledger(settings).statuses()
    assert (status.state, status.images, status.done) == ("queued", 203, 0)
    check_message(run.stderr.decode(), f"job {status.job} continues", f"`pigeonhole wait {status.job}`")


def test_an_interrupted_submission_reports_that_it_is_incomplete(home: Path, settings: Settings, brokered: Run) -> None:
    environment = os.environ | settings.to_environment()
    line = command("classify", "-", "-o", "x.csv")
    run = subprocess.Popen(line, cwd=home, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdin is not None
    run.stdin.write(b"samples/003b50.png\n" * 100)  # the pipe stays open
    run.stdin.flush()
    wait_for(lambda: any(status.images for status in Ledger(settings).statuses()), "the first batch")
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=30)
    (status,) = Ledger(settings).statuses()
    assert run.returncode == 130
    assert status.submitting
    check_message(
        stderr.decode(),
        f"job {status.job}: ",
        f"{status.images} images so far",
        "run the same command again",
        "the same list as input",
        f"`pigeonhole cancel {status.job}`",
    )


def test_waiting_for_a_cancelled_job_has_an_exit_code_of_its_own(brokered: Run) -> None:
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    assert brokered("cancel", job).returncode == 0
    assert brokered("wait", job).returncode == 6
    again = brokered("cancel", job)
    assert (again.returncode, b"0 of 203 images" in again.stderr) == (0, True)
    assert b"nothing is pending" in brokered("resume", job).stderr


def test_resume_publishes_lost_messages_again(settings: Settings, brokered: Run, start_worker: StartWorker) -> None:
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    client = Ledger(settings).client
    queued = list(client.scan_iter(f"{settings.prefix}:classify.*"))
    assert queued
    client.delete(*queued)
    resumed = brokered("resume", job)
    assert resumed.returncode == 0
    assert b"4 batches" in resumed.stderr
    start_worker()
    assert brokered("wait", job, "-q").returncode == 3


def test_an_unreachable_broker_and_wrong_usage_have_their_exit_codes(embedded: Run) -> None:
    away = embedded("status", env=os.environ | {"PIGEONHOLE_BROKER_URL": "redis://:hidden@127.0.0.1:1/0"})
    assert away.returncode == 4
    assert b"redis://:***@127.0.0.1:1/0" in away.stderr
    assert b"hidden" not in away.stderr
    for arguments in (
        ["submit", "samples"],
        ["classify", "gone.png"],
        ["classify", "samples", "-o", "x.txt"],
        ["frob"],
    ):
        wrong = embedded(*arguments)
        assert wrong.returncode == 2, arguments
        assert wrong.stdout == b""
        assert b"Traceback" not in wrong.stderr


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1"])
def test_rows_are_appended_to_the_file_of_standard_output(home: Path, embedded: Run, name: str) -> None:
    (home / "all.csv").write_bytes(b"before\n")
    with (home / "all.csv").open("ab") as stdout:
        run = embedded(
            "classify", "samples/003b50.png", "-o", name, capture_output=False, stdout=stdout, stderr=subprocess.PIPE
        )
    assert run.returncode == 0, run.stderr
    lines = (home / "all.csv").read_bytes().splitlines()
    assert lines[:2] == [b"before", b"path,label,confidence,unknown,review,error,model"]
    assert [line.split(b",")[0] for line in lines[2:]] == [b"samples/003b50.png"]
    assert sorted(path.name for path in home.iterdir()) == ["all.csv", "samples"]


def test_a_closed_pipe_ends_the_program_without_a_message(home: Path, brokered: Run, settings: Settings) -> None:
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    environment = os.environ | settings.to_environment()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        run = subprocess.run(
            command("results", job), env=environment, stdout=closed, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (run.returncode, run.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_deleted_working_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    program = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); os.execv(sys.executable, sys.argv[2:])"
    line = [sys.executable, "-c", program, str(tmp_path / "gone"), *command("classify", "a*.png")]
    run = subprocess.run(line, capture_output=True, timeout=60, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert run.returncode == 2
    check_message(run.stderr.decode(), "working folder", "change to another")
    assert b"Traceback" not in run.stderr
