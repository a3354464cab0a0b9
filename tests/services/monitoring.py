"""`make monitoring-test`: a real Prometheus scrapes a real worker; the counts are right, and the alerts fire.

Needs the programs `prometheus` and `promtool` (Debian's package `prometheus`). All servers listen on the loopback
address, and are stopped at the end. The alerts are those of deploy/alerts.yml, with seconds in place of minutes.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from pigeonhole.embedded.servers import redis_server

ROOT = Path(__file__).resolve().parents[2]
RULES, RULES_TEST = ROOT / "deploy" / "alerts.yml", ROOT / "tests" / "deploy" / "alerts_test.yml"
#: Timeout of each wait, in seconds.
TIMEOUT = 60.0
NOT_INSTALLED = 2


class Failed(Exception):
    """Raised when a check fails; the message names it."""


def main() -> int:
    """Run all checks and return the exit code."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        say(f"{' and '.join(missing)} is not on PATH: install Debian's package `prometheus`")
        return NOT_INSTALLED
    started = time.monotonic()
    try:
        rules()
        with site() as running:
            check_site(running)
    except Failed as exc:
        say(f"FAILED: {exc}")
        return 1
    say(f"passed in {time.monotonic() - started:.0f} s")
    return 0


def say(line: str) -> None:
    """Print a line unbuffered."""
    print(f"monitoring-test: {line}", flush=True)


def rules() -> None:
    """Check the configuration and test each alert with promtool."""
    for arguments in (("check", "config", ROOT / "deploy" / "prometheus.yml"), ("test", "rules", RULES_TEST)):
        ended = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
        if ended.returncode:
            raise Failed(f"promtool {arguments[0]} {arguments[1]}: {ended.stdout}{ended.stderr}")
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    untested = [name for name in alerts if name not in RULES_TEST.read_text()]
    if untested:
        raise Failed(f"{RULES_TEST.name} does not test {untested}")
    say(f"promtool: the configuration is valid, and each of {len(alerts)} alerts fires only when it should")


class Site:
    """A running Redis, worker and Prometheus.

    Args:
        folder: The folder of their files and logs.
        started: The stack that stops each process when it is closed.
    """

    def __init__(self, folder: Path, started: ExitStack) -> None:
        self._folder, self._started = folder, started
        self.metrics, self._web = _free_port(), _free_port()
        broker = f"unix://{folder / 'redis.sock'}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PIGEONHOLE_")}
        self._environment = clean | {"PIGEONHOLE_BROKER_URL": broker, "PIGEONHOLE_OUTAGE_SECONDS": "5"}
        redis_options = ["--port", "0", "--unixsocket", folder / "redis.sock", "--dir", folder, "--save", ""]
        self.redis = self._start("redis", redis_server(), *redis_options)
        worker = [sys.executable, "-m", "pigeonhole", "worker", "--processes", "2", "--log-format", "json"]
        self.worker = self._start("worker", *worker, PIGEONHOLE_METRICS_PORT=str(self.metrics))
        (folder / "alerts.yml").write_text(re.sub(r"\b(\d+)m\b", r"\1s", RULES.read_text()))
        config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        targets = {"targets": [f"127.0.0.1:{self.metrics}"]}
        config["scrape_configs"] = [{"job_name": "pigeonhole", "static_configs": [targets]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        self._start("prometheus", "prometheus", *options, f"--web.listen-address=127.0.0.1:{self._web}")

    def program(self, *arguments: str) -> str:
        """Run a command of `pigeonhole` and return its standard output; exit if it fails."""
        command = [sys.executable, "-m", "pigeonhole", *arguments]
        run = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        if run.returncode not in (0, 3):  # 3: some rows are errors
            sys.exit(f"monitoring-test: {' '.join(command)} ended with {run.returncode}: {run.stderr}")
        return run.stdout

    def query(self, expression: str) -> dict[str, float]:
        """Run a PromQL query; return the value of each series by its last label."""
        url = f"http://127.0.0.1:{self._web}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                result = json.load(reply)["data"]["result"]
        except OSError:
            return {}
        return {" ".join(series["metric"].values()): float(series["value"][1]) for series in result}

    def firing(self) -> set[str]:
        """Return the names of firing alerts."""
        return set(self.query('count by (alertname) (ALERTS{alertstate="firing"})'))

    def wait(self, condition: Callable[[], object], what: str, seconds: float = TIMEOUT) -> None:
        """Wait until a condition holds; raise Failed after the timeout."""
        give_up = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > give_up:
                last = "\n".join((self._folder / "worker.log").read_text(errors="replace").splitlines()[-5:])
                raise Failed(f"waited {seconds:.0f} s for {what}; firing: {self.firing()}; the worker's log:\n{last}")
            time.sleep(0.2)

    def processes(self) -> list[int]:
        """Return the worker's pool processes."""
        listed = subprocess.run(["ps", "--ppid", str(self.worker.pid), "-o", "pid=,args="], capture_output=True,
                                text=True, check=False).stdout  # fmt: skip
        return [int(line.split()[0]) for line in listed.splitlines() if "spawn_main" in line]

    def _start(self, name: str, *command: object, **changes: str) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(part) for part in command], cwd=ROOT, env=self._environment | changes, stdout=log, stderr=log
            )
        self._started.callback(_end, process)
        return process


@contextmanager
def site() -> Iterator[Site]:
    """Yield the installation, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="pigeonhole-monitoring-") as folder, ExitStack() as started:
        yield Site(Path(folder), started)


def check_site(running: Site) -> None:
    """Check the counts, and each alert that one worker can trigger."""
    running.wait(lambda: running.query('up{job="pigeonhole"} == 1'), "a first scrape")
    summary = json.loads(running.program("classify", "samples", "-q", "--json", "--format", "csv", "-o", "/dev/null"))
    expected = {"error": summary["errors"], "review": summary["reviews"]}
    expected["label"] = summary["images"] - expected["error"] - expected["review"]
    _counted(running, expected, summary["errors_by_kind"], 1)
    say(f"scraped: {expected} images and {summary['errors_by_kind']}, as in the summary of `pigeonhole classify`")
    [victim, *_] = running.processes()
    os.kill(victim, signal.SIGKILL)
    running.wait(lambda: victim not in running.processes() and len(running.processes()) == 2, "another process")
    running.program("classify", "samples", "-q", "--json", "--format", "csv", "-o", "/dev/null")
    _counted(running, expected, summary["errors_by_kind"], 2)
    say("scraped: the counts of the killed process are neither lost nor counted twice")
    stages = running.query("sum by (stage) (pigeonhole_stage_seconds_total)")
    if set(stages) != {"read", "forward", "commit"} or not all(stages.values()):
        raise Failed(f"the stages' seconds are {stages}")
    firing = running.firing()
    if firing:
        raise Failed(f"alerts fire without a fault: {firing}")
    _alerts(running)


def _counted(running: Site, outcomes: dict[str, int], kinds: dict[str, int], times: int) -> None:
    wanted = ({name: times * n for name, n in outcomes.items()}, {name: times * n for name, n in kinds.items()})
    running.wait(
        lambda: (
            (
                running.query("sum by (outcome) (pigeonhole_images_total)"),
                running.query("sum by (kind) (pigeonhole_errors_total)"),
            )
            == wanted
        ),
        f"the counters to be {wanted}",
    )


def _alerts(running: Site) -> None:
    def fires(name: str) -> None:
        started = time.monotonic()
        running.wait(lambda: name in running.firing(), f"{name} to fire")
        say(f"fires after {time.monotonic() - started:.0f} s: {name}")

    with tempfile.TemporaryDirectory() as broken:
        for number in range(200):
            (Path(broken) / f"{number}.png").write_bytes(b"no image")
        running.program("classify", broken, "-q", "--json", "--format", "csv", "-o", "/dev/null")
        fires("PigeonholeManyErrors")
    for process in running.processes():
        os.kill(process, signal.SIGSTOP)
    running.program("submit", "samples")
    fires("PigeonholeNothingDone")
    for process in running.processes():
        os.kill(process, signal.SIGCONT)
    running.wait(lambda: not running.firing() & {"PigeonholeNothingDone"}, "PigeonholeNothingDone to end")
    say("ends when the processes continue: PigeonholeNothingDone")
    running.redis.kill()
    fires("PigeonholeRedisAway")
    if running.query("pigeonhole_batches_pending") or not running.query("pigeonhole_images_total"):
        raise Failed("without Redis, a scrape must have the worker's own counters and no metric from Redis")
    running.worker.kill()
    fires("PigeonholeNoWorker")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
