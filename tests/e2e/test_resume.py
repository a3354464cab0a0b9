"""Interrupted commands, run again: every image in exactly one row."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pigeonhole.jobs.record_file import RecordFile
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.settings import Settings
from pigeonhole.sinks.registry import read_results
from tests.conftest import ROOT, wait_for
from tests.decoder_faults import slow
from tests.e2e.conftest import SAMPLES, Run, command
from tests.e2e.test_end_to_end import rows_of
from tests.e2e.test_endings import leftovers, start, temporary

__all__ = ["temporary"]

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


def many(home: Path, copies: int = 40) -> list[str]:
    """Create a folder with thousands of images; return them in the order of their submission."""
    image = (home / "samples" / "003b50.png").read_bytes()
    (home / "many").mkdir()
    for number in range(64 * copies):
        (home / "many" / f"{number:05}.png").write_bytes(image)
    return [f"many/{number:05}.png" for number in range(64 * copies)]


def paths(file: Path) -> list[str]:
    return [row["path"] for row in rows_of(file.read_bytes())]


def interrupt_at_rows(run: "subprocess.Popen[bytes]", part: Path, number: int = signal.SIGKILL) -> None:
    wait_for(lambda: part.exists() and part.stat().st_size > 0, "the first row")
    run.send_signal(number)
    run.communicate(timeout=30)


@pytest.mark.parametrize(
    ("name", "number"),
    [("rows.csv", signal.SIGINT), ("rows.csv", signal.SIGKILL), ("rows.db", signal.SIGTERM)],
)
def test_an_embedded_run_that_was_interrupted_is_gone_on_with_by_the_same_command(
    home: Path, temporary: Path, embedded: Run, number: signal.Signals, name: str
) -> None:
    listed = many(home)
    line = ("classify", "many", "-o", name)
    interrupt_at_rows(start(home, temporary, *line), home / f"{name}.part", number)
    wait_for(lambda: not leftovers(temporary), "an end to what was embedded")
    there = (home / f"{name}.part").read_bytes().count(b"\n") - (name == "rows.csv")
    assert 0 < there < len(listed), "it was interrupted in the midst"
    (home / f"{name}.part").unlink()  # the rows are computed from the state

    again = embedded(*line, "--json")
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    assert summary["kept"] >= there, "what its last rows were made of was written before them"
    assert f"resuming: {summary['kept']:,} rows kept\n" in again.stderr.decode()
    assert (summary["images"], summary["errors"]) == (len(listed), 0)
    if name == "rows.csv":
        assert paths(home / name) == listed
    else:
        assert [row.path for row in read_results(str(home / name))] == listed
    assert sorted(file.name for file in home.iterdir()) == [f".{name}.pigeonhole", "many", name, "samples"]


def test_a_finished_run_is_done_again_and_its_file_replaced_unless_somebody_changed_that(
    home: Path, embedded: Run
) -> None:
    line = ("classify", "samples/0*", "-o", "rows.csv")
    assert embedded(*line).returncode == 0
    again = embedded(*line)
    assert again.returncode == 0
    assert b"kept" not in again.stderr
    (home / "rows.csv").write_bytes(b"what somebody made of it\n")
    refused = embedded(*line)
    assert refused.returncode == 2
    assert b"'rows.csv' exists, and it was changed since this command wrote it: give --overwrite " in refused.stderr
    assert embedded(*line, "--overwrite").returncode == 0
    assert paths(home / "rows.csv")


@pytest.mark.parametrize("name", ["rows.csv", "rows.db"])
def test_a_run_that_was_killed_after_its_last_row_is_finished(home: Path, embedded: Run, name: str) -> None:
    line = ("classify", "samples/0*", "-o", name, "--json")
    images = json.loads(embedded(*line).stdout)["images"]
    (home / name).unlink()
    with closing(RecordFile.locked(str(home / f".{name}.pigeonhole"), pytest.fail)) as records:
        end = next(record.offset for record in records if record.kind == 7)  # FILE is about to be written
    os.truncate(home / f".{name}.pigeonhole", end)
    again = embedded(*line)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["kept"] == images
    assert len(list(read_results(str(home / name)))) == images


def test_a_list_on_standard_input_is_gone_on_with_when_it_is_fed_again(
    home: Path, temporary: Path, embedded: Run
) -> None:
    listed = [path for path in many(home, 20) for _ in range(2)]  # and each image twice
    (home / "list").write_bytes("\n".join(listed).encode())
    line = ("classify", "-", "-o", "rows.csv")
    with (home / "list").open("rb") as feed:
        environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": slow(home.parent / "slow")}
        run = subprocess.Popen(command(*line), cwd=home, env=environment, stdin=feed)
    interrupt_at_rows(run, home / "rows.csv.part")
    wait_for(lambda: not leftovers(temporary), "an end to what was embedded")
    again = embedded(*line, input=(home / "list").read_bytes())
    assert again.returncode == 0, again.stderr
    assert b"resuming: " in again.stderr
    assert paths(home / "rows.csv") == listed


def test_a_changed_image_and_a_new_one_are_classified_and_the_rows_of_the_others_kept(
    home: Path, temporary: Path, embedded: Run
) -> None:
    listed = many(home)
    line = ("classify", "many", "-o", "rows.csv")
    interrupt_at_rows(start(home, temporary, *line), home / "rows.csv.part")
    wait_for(lambda: not leftovers(temporary), "an end to what was embedded")
    (home / "many" / "00000.png").unlink()
    (home / "many" / "00000.png").write_bytes(b"now it is something else")
    (home / "many" / "new.png").write_bytes((home / "samples" / "003b50.png").read_bytes())
    again = embedded(*line)
    assert again.returncode == 3, again.stderr
    assert b" kept; classified again: 1 whose file has changed\n" in again.stderr
    rows = {row["path"]: row["error"].partition(":")[0] for row in rows_of((home / "rows.csv").read_bytes())}
    assert sorted(paths(home / "rows.csv")) == sorted([*listed, "many/new.png"])
    assert {path for path in rows if rows[path]} == {"many/00000.png"}


@pytest.mark.parametrize(("source", "linked"), [("now", False), ("-", True)])
def test_older_images_that_were_put_in_the_place_of_others_are_classified(
    home: Path, temporary: Path, embedded: Run, source: str, linked: bool
) -> None:
    listed = [path.replace("many", "now") for path in many(home)]
    shutil.copytree(home / "many", home / "others")
    for path in (home / "others").iterdir():
        path.write_bytes(b"no image")
        os.utime(path, (0, 0))
    if linked:
        (home / "now").symlink_to("many")
    else:
        (home / "many").rename(home / "now")
    same = ("samples/003b50.png", "samples/007313.png")
    feed = "\n".join([*same, *listed]).encode() if source == "-" else None
    line = ("classify", *(same if feed is None else ()), source, "-o", "rows.csv")
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": slow(home.parent / "slow")}
    run = subprocess.Popen(command(*line), cwd=home, env=environment, stdin=subprocess.PIPE)
    assert run.stdin is not None
    run.stdin.write(feed or b"")
    run.stdin.close()
    wait_for(lambda: (home / "rows.csv.part").exists() and paths(home / "rows.csv.part")[2:] != [], "the first rows")
    run.kill()
    run.wait(timeout=30)
    wait_for(lambda: not leftovers(temporary), "an end to what was embedded")
    if linked:
        (home / "now").unlink()
        (home / "now").symlink_to("others")
    else:
        (home / "now").rename(home / "before")
        (home / "others").rename(home / "now")
    again = embedded(*line, input=feed)
    assert again.returncode == 3, again.stderr
    assert b"resuming: 2 rows kept; classified again: " in again.stderr
    rows = rows_of((home / "rows.csv").read_bytes())
    assert [row["path"] for row in rows] == [*same, *listed]
    assert [row["path"] for row in rows if row["error"]] == listed


def test_another_command_is_refused_before_anything_is_started_unless_it_starts_afresh(
    home: Path, temporary: Path, embedded: Run
) -> None:
    many(home)
    interrupt_at_rows(start(home, temporary, "classify", "many", "-o", "rows.csv"), home / "rows.csv.part")
    wait_for(lambda: not leftovers(temporary), "an end to what was embedded")
    part = (home / "rows.csv.part").read_bytes()
    for other in (["samples/0*"], ["many", "--retry-errors", "-0"], ["samples", "many"]):
        refused = embedded("classify", *other, "-o", "rows.csv")
        assert refused.returncode == 2
        assert b"'rows.csv' is being written by another command that was interrupted with " in refused.stderr
        assert b" rows, `classify many` in " in refused.stderr
        assert b"give --overwrite to replace it, or choose another place with -o\n" in refused.stderr
    assert (home / "rows.csv.part").read_bytes() == part
    fresh = embedded("classify", "samples/0*", "-o", "rows.csv", "--overwrite")
    assert fresh.returncode == 0
    assert len(paths(home / "rows.csv")) == len(list((home / "samples").glob("0*")))


def test_errors_are_retried_and_labels_kept(home: Path, embedded: Run) -> None:
    assert embedded("classify", "samples", "-o", "rows.csv").returncode == 3
    before = rows_of((home / "rows.csv").read_bytes())
    (home / "samples" / "empty.png").write_bytes((SAMPLES / "003b50.png").read_bytes())
    again = embedded("classify", "samples", "-o", "rows.csv", "--retry-errors")
    assert again.returncode == 3
    assert b"resuming: 200 rows kept; classified again: 3 with an error\n" in again.stderr
    rows = rows_of((home / "rows.csv").read_bytes())
    assert sorted(row["path"] for row in rows) == sorted(row["path"] for row in before)
    assert [row for row in rows if not row["error"]][:200] == [row for row in before if not row["error"]]
    assert {row["path"] for row in rows if row["error"]} == {"samples/text.png", "samples/92ce53-truncated.png"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--retry-errors"], b"--retry-errors keeps the labels in a file: "),
        (
            ["--retry-errors", "-o", "/dev/null"],
            b"--retry-errors keeps the labels in a file: ",
        ),
        (["--retry-errors", "-o", "x.csv"], b"in 'x.csv', and there are none: run it without --retry"),
        (["--retry-errors", "--overwrite", "-o", "x.csv"], b"and drop --overwrite"),
    ],
)
def test_options_that_make_no_sense_are_reported_with_what_does(
    embedded: Run, options: list[str], message: bytes
) -> None:
    run = embedded("classify", "samples", *options, "--format", "csv")
    assert run.returncode == 2
    assert message in run.stderr


# Rows that can't be written


def after(statement: str, *arguments: str) -> list[str]:
    """Return a command line that runs the program after a limit is set on its process."""
    program = (
        f"import ctypes, os, resource, sys; {statement}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    return [sys.executable, "-c", program, *command(*arguments)[1:]]


#: Limits the size of files, as a full disk does.
LITTLE_ROOM = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
#: Drops CAP_DAC_OVERRIDE on Linux (prctl PR_CAPBSET_DROP), so that file modes apply to root too.
NO_POWER = "ctypes.CDLL(None).prctl(24, 1)"


def test_after_a_full_disk_the_same_command_resumes_once_there_is_room(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    """With a broker, because an embedded Redis would meet the limit too."""
    listed = many(home, 10)
    start_worker()
    line = ["classify", "many", "-o", "rows.csv"]
    environment = os.environ | settings.to_environment() | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        after(LITTLE_ROOM, *line), cwd=home, env=environment, capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 1
    (status,) = Ledger(settings).statuses()
    assert not status.submitting, "all was submitted first: the job continues"
    said = run.stderr.decode()
    assert "pigeonhole: 'rows.csv.part': the rows can't be written: File too large\n" in said
    assert f"job {status.job} continues; run the same command again to resume\n" in said
    assert "Traceback" not in said

    wait_for(lambda: Ledger(settings).status(status.job).state == "finished", "the end of the job")
    assert brokered("results", status.job, "-o", "elsewhere.csv").returncode == 0
    assert paths(home / "elsewhere.csv") == listed
    again = brokered(*line)
    assert again.returncode == 0, again.stderr
    told = again.stderr.decode()
    assert f"resuming job {status.job}\n" in told
    assert paths(home / "rows.csv") == listed
    assert len(Ledger(settings).statuses()) == 1, "nothing was submitted again"
    assert sorted(file.name for file in home.glob("[!.]*")) == ["elsewhere.csv", "many", "rows.csv", "samples"]


def test_where_writing_is_forbidden_it_is_reported_before_anything_is_submitted(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    (home / "taken").mkdir(mode=0o555)
    environment = os.environ | settings.to_environment() | {"PYTHONPATH": str(ROOT)}

    def forbidden(*arguments: str) -> str:
        line = after(NO_POWER, *arguments, "-o", "taken/rows.csv")
        run = subprocess.run(line, cwd=home, env=environment, capture_output=True, timeout=60, check=False)
        assert run.returncode == 1, run.stderr
        return run.stderr.decode()

    state = "taken/.rows.csv.pigeonhole"
    denied = f"pigeonhole: {state!r} can't be written: Permission denied; choose another place with -o\n"
    assert forbidden("classify", "samples") == denied
    assert Ledger(settings).statuses() == []
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    start_worker()
    assert forbidden("wait", job) == denied
    assert brokered("wait", job, "-o", "elsewhere.csv", "-q").returncode == 3
    assert len(paths(home / "elsewhere.csv")) == 203


def test_two_commands_do_not_write_to_one_file(home: Path, settings: Settings, brokered: Run) -> None:
    environment = os.environ | settings.to_environment()
    line = command("classify", "-", "-o", "rows.csv")
    first = subprocess.Popen(line, cwd=home, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert first.stdin is not None
    first.stdin.write(b"samples/003b50.png\n" * 100)
    first.stdin.flush()
    wait_for(lambda: (home / "rows.csv.part").exists(), "the first command")
    second = brokered("classify", "-", "-o", "rows.csv", input=b"samples/003b50.png\n")
    assert second.returncode == 1
    assert second.stderr.endswith(
        b"pigeonhole: another command is writing the same file (it has locked '.rows.csv.pigeonhole'): wait for "
        b"its end, or choose another file with -o\n"
    )
    assert first.poll() is None
    first.kill()
    first.communicate()


# With a broker


def test_rows_that_are_safe_in_a_file_free_their_jobs_keys(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    start_worker()
    job = brokered("submit", "samples", "-q").stdout.decode().strip()
    refused = brokered("wait", job, "--delete", "--json")
    assert refused.returncode == 2
    assert b"--delete would lose the rows: name a file for them with -o FILE" in refused.stderr
    (home / "folder.csv").mkdir()
    assert brokered("wait", job, "--delete", "-o", "folder.csv").returncode == 2
    assert Ledger(settings).status(job).images, "what has no place to go stays"
    assert brokered("wait", job, "--delete", "-o", "rows.csv", "-q").returncode == 3
    assert len(paths(home / "rows.csv")) == 203
    assert list(Ledger(settings).client.scan_iter(f"{settings.prefix}:job:*")) == []
    assert Ledger(settings).statuses() == []


def test_a_producer_that_is_killed_while_it_follows_costs_nothing(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    listed = many(home)
    start_worker(PYTHONPATH=slow(home.parent / "slow"))
    line = ["classify", "many", "-o", "rows.csv"]
    run = subprocess.Popen(command(*line), cwd=home, env=os.environ | settings.to_environment())
    ledger = Ledger(settings)
    wait_for(lambda: any(not status.submitting for status in ledger.statuses()), "the end of the submission")
    interrupt_at_rows(run, home / "rows.csv.part")
    (status,) = ledger.statuses()
    elsewhere = brokered("wait", status.job, "-o", "elsewhere.csv", "-q")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert paths(home / "elsewhere.csv") == listed
    again = brokered(*line)
    assert again.returncode == 0, again.stderr
    assert paths(home / "rows.csv") == listed
    assert len(ledger.statuses()) == 1


def test_changed_and_new_images_are_a_second_job_once_the_first_resumes(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    listed = many(home)
    start_worker(PYTHONPATH=slow(home.parent / "slow"))
    line = ["classify", "many", "-o", "rows.csv"]
    run = subprocess.Popen(command(*line), cwd=home, env=os.environ | settings.to_environment())
    ledger = Ledger(settings)
    wait_for(lambda: any(not status.submitting for status in ledger.statuses()), "the end of the submission")
    interrupt_at_rows(run, home / "rows.csv.part")
    (status,) = ledger.statuses()
    for other in (["results", status.job], ["wait", status.job]):
        refused = brokered(*other, "-o", "rows.csv")
        assert (refused.returncode, b"'rows.csv' is being written by another command" in refused.stderr) == (2, True)
    (home / "many" / "00000.png").write_bytes(b"now it is something else")
    (home / "many" / "new.png").write_bytes((home / "samples" / "003b50.png").read_bytes())
    again = brokered(*line)
    assert again.returncode == 3, again.stderr
    assert f"resuming job {status.job}\n" in again.stderr.decode()
    assert sorted(paths(home / "rows.csv")) == sorted([*listed, "many/new.png"])
    assert [row["path"] for row in rows_of((home / "rows.csv").read_bytes()) if row["error"]] == ["many/00000.png"]
    assert [(one.images, one.state) for one in ledger.statuses()] == [(len(listed), "finished"), (2, "finished")]


def test_a_job_that_was_deleted_leaves_its_rows_and_the_rest_is_submitted_anew(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    listed = many(home)
    start_worker(PYTHONPATH=slow(home.parent / "slow"))
    line = ["classify", "many", "-o", "rows.csv"]
    run = subprocess.Popen(command(*line), cwd=home, env=os.environ | settings.to_environment())
    interrupt_at_rows(run, home / "rows.csv.part")
    (status,) = Ledger(settings).statuses()
    there = len(paths(home / "rows.csv.part"))
    Ledger(settings).delete(status.job)
    again = brokered(*line, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["kept"] >= there
    assert json.loads(again.stdout)["job"] != status.job
    assert paths(home / "rows.csv") == listed


def test_a_followed_job_that_redis_lost_is_reported_with_how_to_resume(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker
) -> None:
    listed = many(home)
    worker = start_worker(PYTHONPATH=slow(home.parent / "slow"))
    line = ["classify", "many", "-o", "rows.csv"]
    environment = os.environ | settings.to_environment()
    run = subprocess.Popen(command(*line), cwd=home, env=environment, stderr=subprocess.PIPE)
    wait_for(lambda: (home / "rows.csv.part").exists() and paths(home / "rows.csv.part") != [], "the first rows")
    worker.send_signal(signal.SIGSTOP)
    (status,) = Ledger(settings).statuses()
    Ledger(settings).delete(status.job)
    worker.send_signal(signal.SIGCONT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 2, said
    assert f"pigeonhole: no job '{status.job}'" in said.decode()
    assert said.endswith(b"\nrun the same command again to resume\n")
    assert brokered(*line).returncode == 0
    assert paths(home / "rows.csv") == listed


@pytest.fixture
def cut_off(home: Path, settings: Settings) -> str:
    """A job whose submission was killed after its first batches."""
    many(home)
    (home / "list").write_text("".join(f"{path}\n" for path in sorted(map(str, Path(home / "many").iterdir()))))
    feed = (home / "list").read_bytes()
    run = subprocess.Popen(
        command("submit", "-"), cwd=home, env=os.environ | settings.to_environment(), stdin=subprocess.PIPE
    )
    assert run.stdin is not None
    run.stdin.write(feed[: len(feed) // 2])
    run.stdin.flush()
    ledger = Ledger(settings)
    wait_for(lambda: any(status.batches > 2 for status in ledger.statuses()), "the first batches")
    run.kill()
    run.wait()
    run.stdin.close()
    (status,) = ledger.statuses()
    return status.job


def test_a_submission_that_was_killed_is_finished_by_submitting_the_same_again(
    home: Path, settings: Settings, brokered: Run, start_worker: StartWorker, cut_off: str
) -> None:
    feed = (home / "list").read_bytes()
    listed = feed.decode().splitlines()
    before = json.loads(brokered("status", cut_off, "--json").stdout)
    assert before["submitting"]
    assert 0 < before["images"] < len(listed)
    assert b" so far\n" in brokered("status", cut_off).stdout

    other = brokered("submit", "--job", cut_off, "samples", "many")
    assert other.returncode == 2
    assert b"has other images in its batch" in other.stderr

    finished = brokered("submit", "--job", cut_off, "-", input=feed)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.decode() == f"{cut_off}\n"
    assert f"submitted {len(listed):,} images, {before['images']:,} of them before\n" in finished.stderr.decode()
    again = brokered("submit", "--job", cut_off, "-", input=feed)
    assert again.returncode == 0
    assert f"job {cut_off} had all of its {len(listed):,} images already\n" in again.stderr.decode()
    fewer = brokered("submit", "--job", cut_off, "-", input=b"\n".join(feed.splitlines()[:-1]))
    assert fewer.returncode == 2
    assert b"Traceback" not in fewer.stderr

    start_worker()
    assert brokered("wait", cut_off, "-o", "rows.csv", "-q").returncode == 0
    assert paths(home / "rows.csv") == listed


def test_a_submission_that_is_interrupted_names_the_command_that_finishes_it(
    home: Path, settings: Settings, brokered: Run
) -> None:
    environment = os.environ | settings.to_environment()
    line = command("submit", "-0", "-", "samples/it's")
    (home / "samples" / "it's").write_bytes((SAMPLES / "003b50.png").read_bytes())
    run = subprocess.Popen(line, cwd=home, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdin is not None
    run.stdin.write(b"samples/003b50.png\0" * 100)
    run.stdin.flush()
    wait_for(lambda: any(status.images for status in Ledger(settings).statuses()), "the first batch")
    run.send_signal(signal.SIGINT)
    run.wait(timeout=30)  # its list is still open: only the first batches are submitted
    _, said = run.communicate()
    (status,) = Ledger(settings).statuses()
    assert said.decode().endswith(
        f"""pigeonhole: interrupted; job {status.job}: the submission is incomplete (64 images so far); `pigeonhole """
        f"""submit --job {status.job} -0 - 'samples/it'"'"'s'`, with the same list as input, submits the rest, or """
        f"""`pigeonhole cancel {status.job}` ends it\n"""
    )


def test_a_job_that_no_one_knows_can_not_be_submitted_to(brokered: Run) -> None:
    run = brokered("submit", "--job", "20270115-080000-abc123", "samples")
    assert run.returncode == 2
    assert b"no job '20270115-080000-abc123'" in run.stderr
