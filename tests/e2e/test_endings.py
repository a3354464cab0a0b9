"""How commands end: exit codes, interruptions, and leftovers."""

import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.wire.messages import VERSION
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.settings import Settings
from tests import decoder_faults
from tests.conftest import ROOT, children, wait_for
from tests.decoder_faults import slow
from tests.e2e.conftest import Run, command

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


def leftovers(folder: Path) -> list[str]:
    """Return embedded folders, and the processes that were started for them."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended meanwhile
        if str(folder) in line:
            running.append(line)
    return running + [str(path) for path in folder.iterdir()]


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """The temporary folder of embedded runs; its path is short enough for a socket."""
    folder = Path("/tmp") / f"ph-{os.getpid()}-{abs(hash(tmp_path)) % 10**8}"
    folder.mkdir()
    yield folder
    folder.rmdir()


def start(home: Path, temporary: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": slow(home.parent / "slow")}
    return subprocess.Popen(command(*arguments), cwd=home, env=environment, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("number", "part"),
    [
        *((number, "rows") for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)),
        *((number, "start-up") for number in (signal.SIGINT, signal.SIGKILL)),
    ],
)
def test_an_embedded_run_that_is_ended_leaves_nothing_but_whole_rows(
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
    _, said = run.communicate(timeout=30)
    assert run.returncode == (-number if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL and part == "rows":
        assert b"interrupted; run the same command again to resume\n" in said
    wait_for(lambda: not leftovers(temporary), "an end to what was embedded")
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
    _, said = wait.communicate(timeout=30)
    # Python may end by the signal itself; a shell reports 130 in both cases.
    assert wait.returncode in (130, -signal.SIGINT)
    assert said.decode().endswith(
        f"pigeonhole: interrupted; job {job} continues; `pigeonhole wait {job} -o 'x 1.csv'` follows it "
        "(-o may name another file)\n"
    )
    Ledger(settings).cancel(job)
    assert brokered("wait", job, "-o", "x.csv").returncode == 6


@pytest.mark.parametrize("command", ["classify", "submit"])
def test_a_misspelt_model_leaves_no_job_behind(settings: Settings, brokered: Run, command: str) -> None:
    run = brokered(command, "samples", "--model", "digts")
    assert run.returncode == 5
    assert b"no worker serves the model 'digts'" in run.stderr
    assert Ledger(settings).statuses() == []


def test_without_a_worker_the_command_says_so_and_the_job_stays(settings: Settings, brokered: Run) -> None:
    run = brokered("classify", "samples")
    assert run.returncode == 5
    assert b"no worker serves the model 'digits'; start one: `pigeonhole worker`" in run.stderr
    (status,) = Ledger(settings).statuses()
    assert (status.state, status.images, status.done) == ("queued", 203, 0)
    assert f"job {status.job} continues; `pigeonhole wait {status.job}`" in run.stderr.decode()


def test_a_submission_that_is_interrupted_says_that_not_everything_was_submitted(
    home: Path, settings: Settings, brokered: Run
) -> None:
    environment = os.environ | settings.to_environment()
    line = command("classify", "-", "-o", "x.csv")
    run = subprocess.Popen(line, cwd=home, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdin is not None
    run.stdin.write(b"samples/003b50.png\n" * 100)  # and the pipe stays open
    run.stdin.flush()
    wait_for(lambda: any(status.images for status in Ledger(settings).statuses()), "the first batch")
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=30)
    (status,) = Ledger(settings).statuses()
    assert run.returncode == 130
    assert status.submitting
    assert said.decode().endswith(
        f"pigeonhole: interrupted; job {status.job}: the submission is incomplete ({status.images} images so far); "
        f"run the same command again, with the same list as input, to resume, or `pigeonhole cancel {status.job}` ends "
        "it\n"
    )


def test_a_cancelled_job_ends_with_its_own_code_and_keeps_its_rows(brokered: Run) -> None:
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    assert brokered("cancel", job).returncode == 0
    assert brokered("wait", job).returncode == 6
    again = brokered("cancel", job)
    assert (again.returncode, b"is cancelled: 0 of 203 images were done" in again.stderr) == (0, True)
    assert b"nothing is pending" in brokered("resume", job).stderr


def test_resume_publishes_what_was_lost_from_the_queue(
    settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    client = Ledger(settings).client
    queued = list(client.scan_iter(f"{settings.prefix}:classify.*"))
    assert queued
    client.delete(*queued)
    resumed = brokered("resume", job)
    assert resumed.returncode == 0
    assert b"published 4 batches again" in resumed.stderr
    start_worker()
    assert brokered("wait", job, "-q").returncode == 3


def test_a_killed_process_costs_no_row_and_doubles_none(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    (home / "list").write_text("\n".join(f"samples/{path.name}" for path in (home / "samples").iterdir()) + "\n")
    (home / "list").write_text((home / "list").read_text() * 20)
    worker = start_worker(PYTHONPATH=slow(home.parent / "slow"))
    job = brokered("submit", "@list", "-q").stdout.decode().strip()
    ledger = Ledger(settings)
    for _ in range(2):
        wait_for(lambda: ledger.status(job).batches_claimed > 0 or ledger.status(job).over, "a batch in hand")
        for child in children(worker.pid):
            os.kill(child, signal.SIGKILL)
    run = brokered("wait", job, "--format", "csv", "-q")
    assert run.returncode == 3
    listed = (home / "list").read_text().splitlines()
    assert [line.split(",")[0] for line in run.stdout.decode().splitlines()[1:]] == listed
    assert ledger.status(job).done == len(listed)


def test_a_worker_that_is_stopped_gently_finishes_what_it_has_in_hand(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    (home / "list").write_text("".join(f"samples/{path.name}\n" for path in (home / "samples").iterdir()) * 20)
    worker = start_worker(PYTHONPATH=slow(home.parent / "slow"))
    job = brokered("submit", "@list", "-q").stdout.decode().strip()
    ledger = Ledger(settings)
    wait_for(lambda: ledger.status(job).batches_claimed > 0, "a batch in hand")
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    status = ledger.status(job)
    assert status.batches_claimed == 0
    assert status.done > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PIGEONHOLE_MODEL": "nobody"}, "The checkpoint 'nobody' doesn't exist"),
        ({"PIGEONHOLE_IMAGE_ROOT": "/no/such"}, "PIGEONHOLE_IMAGE_ROOT is '/no/such'"),
        ({"PIGEONHOLE_BROKER_URL": ""}, "a worker needs a broker: give --broker URL or set PIGEONHOLE_BROKER_URL"),
        ({"PIGEONHOLE_CHUNKS": "8"}, "unknown setting PIGEONHOLE_CHUNKS: did you mean PIGEONHOLE_CHUNK?"),
    ],
)
@pytest.mark.parametrize("program", [["-m", "celery", "-A", "worker.app", "worker"], ["-m", "pigeonhole", "worker"]])
def test_a_worker_that_is_set_up_wrongly_stops_with_a_message(
    settings: Settings, program: list[str], changes: dict[str, str], message: str
) -> None:
    environment = os.environ | settings.to_environment() | changes
    run = subprocess.run([sys.executable, *program], env=environment, capture_output=True, timeout=60, check=False)
    assert run.returncode == 2
    assert f"pigeonhole worker: {message}" in run.stderr.decode()
    assert "Traceback" not in run.stderr.decode()


@pytest.mark.parametrize("program", [["-m", "celery", "-A", "worker.app", "worker"], ["-m", "pigeonhole", "worker"]])
def test_a_worker_whose_checkpoint_is_damaged_inside_stops_with_a_message(
    settings: Settings, tmp_path: Path, program: list[str]
) -> None:
    data = bytearray(checkpoints.find("digits").read_bytes())
    data[-100] ^= 1  # the header is valid, so only loading the weights fails
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(data)
    environment = os.environ | settings.to_environment() | {"PIGEONHOLE_MODEL": str(damaged)}
    run = subprocess.run([sys.executable, *program], env=environment, capture_output=True, timeout=60, check=False)
    assert run.returncode == 2
    assert "pigeonhole worker:" in (run.stderr + run.stdout).decode()


def test_an_unreachable_broker_and_wrong_usage_have_their_codes(embedded: Run) -> None:
    away = embedded("status", env=os.environ | {"PIGEONHOLE_BROKER_URL": "redis://:hidden@127.0.0.1:1/0"})
    assert away.returncode == 4
    assert b"no answer from Redis at redis://:***@127.0.0.1:1/0" in away.stderr
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
def test_rows_for_standard_output_come_after_what_its_file_has(home: Path, embedded: Run, name: str) -> None:
    (home / "all.csv").write_bytes(b"what was there\n")
    with (home / "all.csv").open("ab") as stdout:
        run = embedded(
            "classify", "samples/003b50.png", "-o", name, capture_output=False, stdout=stdout, stderr=subprocess.PIPE
        )
    assert run.returncode == 0, run.stderr
    lines = (home / "all.csv").read_bytes().splitlines()
    assert lines[:2] == [b"what was there", b"path,label,confidence,unknown,review,error,model"]
    assert [line.split(b",")[0] for line in lines[2:]] == [b"samples/003b50.png"]
    assert sorted(path.name for path in home.iterdir()) == ["all.csv", "samples"]


def test_a_reader_who_has_seen_enough_ends_the_program_quietly(home: Path, brokered: Run, settings: Settings) -> None:
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    environment = os.environ | settings.to_environment()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        run = subprocess.run(
            command("results", job), env=environment, stdout=closed, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (run.returncode, run.stderr) == (128 + signal.SIGPIPE, b"")


def test_an_image_that_kills_its_process_is_blamed_and_no_other(
    home: Path, tmp_path: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    good = [f"samples/{path.name}" for path in sorted((home / "samples").glob("0*.png"))[:11]]
    listed = [*good[:5], "killer.png", *good[5:]]
    (home / "killer.png").write_bytes(decoder_faults.image(home / "samples" / "003b50.png", "signal=SIGKILL"))
    (home / "list").write_text("\n".join(listed) + "\n")
    start_worker(PYTHONPATH=decoder_faults.install(tmp_path), PIGEONHOLE_PROCESSES="2")
    job = brokered("submit", "@list", "-q").stdout.decode().strip()
    run = brokered("wait", job, "--format", "csv", "-q")
    assert run.returncode == 3
    rows = [line.split(",") for line in run.stdout.decode().splitlines()[1:]]
    assert [row[0] for row in rows] == listed
    assert [row[0] for row in rows if row[1] == ""] == ["killer.png"]
    assert "killer.png,,,,false,crashed: reading it ends the process (SIGKILL),digits@" in run.stdout.decode()


def test_a_folder_that_is_gone_from_under_the_user_is_reported(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    program = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); os.execv(sys.executable, sys.argv[2:])"
    line = [sys.executable, "-c", program, str(tmp_path / "gone"), *command("classify", "a*.png")]
    run = subprocess.run(line, capture_output=True, timeout=60, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (run.returncode, run.stderr) == (2, b"pigeonhole: the working folder was deleted: change to another\n")


def test_a_batch_of_a_version_that_no_worker_knows_is_reported_and_kept(
    settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    job = brokered("submit", "samples/003b50.png", "-q").stdout.decode().strip()
    ledger = Ledger(settings)
    newer = zlib.compress(json.dumps({"v": 9, "images": ["a.png"]}).encode())
    ledger.client.hset(f"{settings.prefix}:job:{job}:refs", 0, newer)
    start_worker()
    ended = brokered("wait", job, "-q")
    assert ended.returncode == 1
    said = (
        f"a batch in the ledger has version 9, and this program reads version {VERSION}: run the same version of "
        "Pigeonhole in producer and workers"
    )
    assert f"pigeonhole: the workers can't read the remaining batches of job {job}: {said}" in ended.stderr.decode()
    for shown in (brokered("status", job), brokered("status")):
        assert shown.returncode == 0
        assert "1 dead letter (a batch that no worker could finish); the latest:" in shown.stderr.decode()
        assert f"  job {job}, batch 0: {said}" in shown.stderr.decode()
    assert ledger.status(job).images - ledger.status(job).done == 1, "it is still pending"
