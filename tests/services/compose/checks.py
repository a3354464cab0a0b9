"""Checks of the shipped model's services: permissions, rows, monitoring, a stopped worker, a killed Redis."""

import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from tests.services.compose.installation import COPIES, ERROR_ROWS, Site, read
from tests.services.compose.stack import check, say

WORKERS = 3
#: Seconds that a worker may take to stop, as in docker-compose.yml.
GRACE = 310


def classify_embedded(site: Site) -> None:
    """Classify the samples without containers; compose must return the same rows."""
    program, rows = Path(sys.executable).parent / "pigeonhole", site.work / "embedded.csv"
    check(program.exists(), f"{program} is missing: run this with `make compose-test`")
    own = {name: value for name, value in site.stack.environment.items() if name != "PATH"}
    done = subprocess.run(
        [program, "classify", "samples", "-o", rows, "--quiet"],
        cwd=site.work / "images",
        env=own | {"PATH": os.environ["PATH"]},
        check=False,
    )
    check(done.returncode == ERROR_ROWS, f"the embedded run gave exit code {done.returncode}")
    site.expected = {Path(row.path).name: row for row in read(rows)}
    say(f"embedded: {len(site.expected)} rows to compare with")


def hardening(site: Site) -> None:
    """Check the permissions of the containers, from outside and inside."""
    worker, redis = site.stack.containers("worker")[0], site.stack.containers("redis")[0]
    for service, container in (("worker", worker), ("redis", redis)):
        _permissions(site, service, container)
    output = site.run_inside(worker, "touch /images/x /models/x /run/broker/x || true")
    check(output.count("Read-only") == 3, f"a worker can write where it should only read: {output}")
    output = site.run_inside(redis, "redis-cli ping")
    check("NOAUTH" in output, f"Redis answers clients without a password: {output}")
    password = site.run_inside(redis, "cat /run/broker/password").strip()
    shown = site.stack.docker("inspect", worker, redis).stdout + site.stack.log(worker) + site.stack.log(redis)
    check(password and password not in shown, "Redis' password is shown by `docker inspect` or in a log")
    say("Redis: needs its password, which neither `docker inspect` nor a log shows; publishes no port")


def _permissions(site: Site, service: str, container: str) -> None:
    """Check that a container has a read-only root, a memory limit, no port, no root user and no capabilities."""
    host = json.loads(site.stack.inspect(container, "{{json .HostConfig}}"))
    check(host["ReadonlyRootfs"], f"{service}: its root can be written")
    check(host["Memory"], f"{service}: no memory limit")
    check(not host["PortBindings"], f"{service}: publishes {host['PortBindings']}")
    # tini is process 1; its child is the program.
    output = site.run_inside(container, "id -u; grep -h -E '^(CapEff|NoNewPrivs)' /proc/1/status; touch /x || true")
    uid, *rest = output.splitlines()
    check(uid != "0", f"{service}: runs as root")
    check("CapEff:\t0000000000000000" in rest, f"{service}: has capabilities: {output}")
    check("NoNewPrivs:\t1" in rest, f"{service}: could gain privileges: {output}")
    check("Read-only file system" in output, f"{service}: could write to its root: {output}")
    say(f"{service}: uid {uid}, read-only root, no capabilities, no new privileges, {host['Memory'] >> 20} MiB")


def classification(site: Site) -> None:
    """Classify the samples, and compare the rows with the embedded run's."""
    command = ("classify", "/images/samples", "-o", "/results/rows.csv", "--json")
    summary = json.loads(site.stack.task("producer", *command, codes=(ERROR_ROWS,)))
    site.compare("rows.csv")
    _check_shares(site, summary["job"], len(site.expected))
    say(f"classify: {summary['labels']} labels and {summary['errors']} errors, the same as embedded")


def monitoring(site: Site) -> None:
    """Check the findings of the doctor and the metrics of Prometheus."""
    site.stack.task("producer", "doctor")
    say("doctor: no finding is wrong; it sent an image through the queue")
    site.stack("--profile", "monitoring", "up", "-d", "prometheus")
    [prometheus] = site.stack("--profile", "monitoring", "ps", "-q", "prometheus").stdout.split()

    def query(expression: str) -> str:
        command = ("promtool", "query", "instant", "http://localhost:9090", expression)
        return site.stack.docker("exec", prometheus, *command, check_it=False).stdout

    site.wait(lambda: f"=> {WORKERS} @" in query('sum(up{job="pigeonhole"})'), f"Prometheus to scrape {WORKERS}", 90)
    wanted = len(site.expected) + 1  # the doctor's
    site.wait(lambda: f"=> {wanted} @" in query("sum(pigeonhole_images_total)"), f"Prometheus to count {wanted}", 60)
    say(f"Prometheus: scrapes {WORKERS} workers, and counts {wanted} images")


def _batches(job: str, log: str) -> list[tuple[str, str]]:
    """Return the number and the images of each batch of a job, from a worker's log."""
    return re.findall(rf"job {job}: batch (\d+): (\d+) images", log)


def _check_shares(site: Site, job: str, images: int) -> None:
    """Check by the workers' logs that several workers shared a job, and that no batch was done twice."""
    done: dict[str, int] = {}
    numbers: list[str] = []
    for worker in site.workers():
        for number, count in _batches(job, site.stack.log(worker)):
            done[worker[:12]] = done.get(worker[:12], 0) + int(count)
            numbers.append(number)
    check(len(set(numbers)) == len(numbers), f"job {job}: a batch was done twice: {sorted(numbers)}")
    check(sum(done.values()) == images, f"job {job}: the workers' logs report {done}, not {images} images")
    check(len(done) > 1, f"job {job}: only one worker did anything: {done}")
    shares = ", ".join(f"{worker} {count}" for worker, count in sorted(done.items()))
    say(f"{len(numbers)} batches on {len(done)} workers, each once: {shares}")


def gentle_stop(site: Site) -> None:
    """Stop a worker during a job: it finishes its current batches, and the others do the rest."""
    images = len(site.expected) * COPIES
    job = site.stack.task("producer", "submit", "/images/more").strip()
    worker = site.workers()[0]
    site.wait(lambda: f"job {job}: batch" in site.stack.log(worker), f"worker {worker} to do a batch", 60)
    started = time.monotonic()
    site.stack.docker("stop", "--time", str(GRACE), worker)
    seconds, code = time.monotonic() - started, site.stack.inspect(worker, "{{.State.ExitCode}}")
    check(code == "0", f"a stopped worker gave exit code {code}")
    done = sum(int(count) for each in site.workers() for _, count in _batches(job, site.stack.log(each)))
    check(done < images, "the worker stopped after the end of the job, which tests nothing: raise COPIES")
    in_hand = len(_batches(job, site.stack.log(worker).partition("Warm shutdown")[2]))
    check(in_hand > 0, "the stopped worker finished no batch")
    say(f"stop: of {images:,} images {done:,} are done; {worker} finished its {in_hand} current batches")
    say(f"stop: it ended {seconds:.1f} s after SIGTERM, with exit code {code}")
    site.stack.task("producer", "wait", job, "-o", "/results/more.csv", codes=(ERROR_ROWS,))
    site.compare("more.csv", COPIES)
    _check_shares(site, job, images)
    again = [line for each in site.workers() for line in site.stack.log(each).splitlines() if "again" in line]
    check(not again, f"batches were lost by a gentle stop: {again}")
    say(f"stop: {images} rows, the same as embedded, no batch done again")
    site.stack.docker("start", worker)
    site.wait_until_healthy(worker)


def redis_restart(site: Site) -> None:
    """Kill Redis: the health check fails, acknowledged data is still there, and work continues afterwards."""
    redis, worker = site.stack.containers("redis")[0], site.stack.containers("worker")[0]
    jobs = site.stack.task("producer", "status", "--json")
    site.stack.docker("kill", redis)
    health = site.stack.docker("exec", worker, "python", "-m", "worker.health", check_it=False)
    check(health.returncode == 1, f"without Redis, a worker's health check prints {health.stdout}")
    say(f"health check without Redis: {health.stdout.strip()}")
    site.stack.docker("start", redis)
    site.wait_until_healthy(redis)
    started = time.monotonic()
    for each in site.workers():
        site.wait(partial(_is_healthy, site, each), f"{each} to reconnect to Redis", 60)
    say(f"Redis was killed and started: all workers consume {time.monotonic() - started:.0f} s after it answers")
    check(site.stack.task("producer", "status", "--json") == jobs, "Redis lost data when it was killed")
    site.classify_samples("again.csv")
    site.compare("again.csv")
    say("Redis: its jobs are still there, and a new one gives the same rows")


def _is_healthy(site: Site, worker: str) -> bool:
    return site.stack.docker("exec", worker, "python", "-m", "worker.health", check_it=False).returncode == 0
