"""Submit, follow and compare one job, undisturbed and under faults."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import OUTAGE, Faults
from tests.conftest import ROOT
from tests.faults.rows import Difference, FileRow, difference, read
from tests.faults.site import Site

WORKERS = ("one", "two")
#: The exit codes of `wait` if rows have errors, as some samples do, and if there was no worker for a while; in the
#: second case it is run again, as its message advises.
ERROR_ROWS, NO_WORKER = 3, 5
#: Seconds after which a run counts as hanging.
TIMEOUT = 900.0


@dataclass(frozen=True)
class Undisturbed:
    """The result of an undisturbed run.

    Args:
        listed: the submitted paths.
        rows: the row of each sample, by its name.
        seconds: the seconds from the submission to the last row.
    """

    listed: list[str]
    rows: dict[str, FileRow]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run under faults."""

    seed: int
    faults: Counter[str]
    difference: Difference
    recoveries: list[float]
    failures: list[str]
    seconds: float

    @property
    def wrong(self) -> bool:
        """True if there were failures, or rows differ from those of the undisturbed run."""
        return bool(self.difference or self.failures)

    def __str__(self) -> str:
        kills = self.faults["processes killed"] + self.faults["whole workers killed"]
        redis = self.faults["Redis killed"] + self.faults[OUTAGE]
        failures = "".join(f"\n  {failure}" for failure in self.failures)
        return f"{kills} kills, Redis killed {redis} times; {self.difference}; {self.seconds:.0f} s{failures}"


def undisturbed(site: Site, copies: int) -> Undisturbed:
    """Submit and follow a job with copies of the samples, without faults."""
    with closing(site):
        listed = site.copy_samples(copies)
        for name in WORKERS:
            site.start_worker(name)
        started = time.monotonic()
        submission = _submission(site)
        _feed(submission, listed, end=True)
        submission.wait(timeout=TIMEOUT)
        (status,) = site.ledger.statuses()
        code = _wait(site, status.job).wait(timeout=TIMEOUT)
        if code != ERROR_ROWS:
            raise RuntimeError(f"following the undisturbed job ended with {code}: {_last_output(site)}")
        rows = read(site.folder / "rows.csv")
        baseline = Undisturbed(listed, {Path(row.path).name: row for row in rows}, time.monotonic() - started)
        if wrong := difference(rows, listed, baseline.rows):
            raise RuntimeError(f"the rows of the undisturbed run are wrong: {wrong}")
        return baseline


def chaotic(site: Site, baseline: Undisturbed, seed: int, away: float) -> Outcome:
    """Submit and follow the same job under faults."""
    with closing(site):
        site.copy_samples(len(baseline.listed) // len(baseline.rows))
        faults = Faults(site, random.Random(seed), away)
        for name in WORKERS:
            site.start_worker(name)
        started = time.monotonic()
        _submit(site, faults, baseline.listed)
        _follow(site, faults, started + TIMEOUT)
        seconds = time.monotonic() - started
        status = site.ledger.status(faults.job)
        if (status.state, status.done) != ("finished", len(baseline.listed)):
            faults.failures.append(f"the job is {status.state} with {status.done} rows")
        wrong = difference(read(site.folder / "rows.csv"), baseline.listed, baseline.rows)
        return Outcome(seed, faults.injected, wrong, faults.recoveries, faults.failures, seconds)


def _submit(site: Site, faults: Faults, listed: list[str]) -> None:
    """Submit the list, killing the first producer and, during the next submission, Redis; repeat until one succeeds."""
    first = _submission(site)
    _feed(first, listed[: len(listed) // 3])
    while not faults.job:
        faults.tend()
        faults.job = next((status.job for status in site.ledger.statuses() if status.batches > 8), "")
        time.sleep(0.1)
    first.kill()
    first.wait()
    faults.injected["submissions killed"] += 1
    second = _submission(site, faults.job)
    _feed(second, listed[: len(listed) // 2])
    faults.inject("Redis killed")
    # In a thread: the producer does not read while it waits for Redis, which is restarted here.
    threading.Thread(target=_feed, args=(second, listed[len(listed) // 2 :], True), daemon=True).start()
    while _ended(second, faults) != 0:
        # Redis has lost a part, and a pipe can't be read again, so the producer ends with a message.
        second = _submission(site, faults.job)
        threading.Thread(target=_feed, args=(second, listed, True), daemon=True).start()


def _submission(site: Site, job: str = "") -> "subprocess.Popen[bytes]":
    return start_command(site, "submit", "-", "-q", *(("--job", job) if job else ()), stdin=subprocess.PIPE)


def _feed(submission: "subprocess.Popen[bytes]", listed: list[str], end: bool = False) -> None:
    """Write paths to a submission's input; it may end before it has read them."""
    pipe = submission.stdin
    assert pipe is not None  # for the type checker
    with suppress(BrokenPipeError):
        pipe.write("".join(f"{path}\n" for path in listed).encode())
        pipe.flush()
        if end:
            pipe.close()


def _wait(site: Site, job: str) -> "subprocess.Popen[bytes]":
    return start_command(site, "wait", job, "-o", "rows.csv", "-q")


def start_command(site: Site, *arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    """Start a command of the producer, as a user does."""
    environment = site.environment() | {"PYTHONPATH": str(ROOT)}
    with site.log("producer").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pigeonhole", *arguments],
            cwd=site.folder,
            env=environment,
            stdin=stdin,
            stdout=log,
            stderr=log,
        )


def _last_output(site: Site) -> str:
    """Return the last output of the producer's commands."""
    return " / ".join(site.log("producer").read_text().splitlines()[-3:])


def _ended(process: "subprocess.Popen[bytes]", faults: Faults) -> int:
    while process.poll() is None:
        faults.turn()
        time.sleep(0.05)
    return process.returncode


def _follow(site: Site, faults: Faults, give_up: float) -> None:
    """Follow the job to its end, and start again whenever the follower is killed."""
    follower = _wait(site, faults.job)

    def kill() -> bool:
        if follower.poll() is not None or not (site.folder / "rows.csv.part").exists():
            return False
        follower.send_signal(signal.SIGKILL)
        return True

    faults.kill_follower = kill
    while True:
        faults.turn()
        code = follower.poll()
        if code == ERROR_ROWS:
            break
        if code is not None:
            if code not in (NO_WORKER, -signal.SIGKILL):
                faults.failures.append(f"following ended with {code}: {_last_output(site)}")
            follower = _wait(site, faults.job)
        if time.monotonic() > give_up:
            follower.kill()
            raise RuntimeError(f"the job does not end: {site.ledger.status(faults.job)}")
        time.sleep(0.05)
    if not faults.over:
        faults.failures.append("the job ended before all faults were injected: raise --pause or --copies")
