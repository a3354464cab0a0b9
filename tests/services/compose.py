"""`make compose-test`: build the images, scale to three workers, and compare with the embedded run.

It uses the Docker engine that is there; where there is none, the one that ../shared/compose-lab brings up. What it
starts has a project name, a temporary folder and volumes of its own, and is taken down again however it ends.
"""

import argparse
import csv
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.services.compose_stack import ANY_USER, ROOT, Failed, Stack, check, engine, is_lab, say

WORKERS = 3
#: Bytes that the image of a worker may add to its base image: with Docker's own, of some 130 MB, less than 600 MB.
LARGEST_WORKER = 450_000_000
#: The base image, if PYTHON_IMAGE names no other.
BASE = "python:3.11-slim-bookworm"
#: A script that saves random weights of the classic network with torch, as others publish them.
SAVE_CLASSIC = """
import torch
from pigeonhole.models.networks.registry import build

torch.manual_seed(1)
torch.save(build("classic", {}, 10).layers.state_dict(), "/models/mnist_cnn.pt")
"""
#: Copies of the samples in the larger job, which takes seconds, so that a worker can be stopped meanwhile.
COPIES = 1_000
#: Confidences of two runtimes, and of two builds of one, may differ by rounding.
TOLERANCE = 1e-4
#: The exit code of `pigeonhole classify` with error rows; three of the samples are no images.
ERROR_ROWS = 3
#: The least share of its training images that a trained network must classify correctly.
LEARNED = 0.9
#: Seconds that a worker may take to stop, as in docker-compose.yml.
GRACE = 310


class FileRow(NamedTuple):
    """A line of a CSV that `pigeonhole` wrote."""

    path: str
    label: str
    review: str
    error: str
    model: str
    confidence: float


def main() -> int:
    """Run all checks and return the exit code."""
    parser = argparse.ArgumentParser(description="Try docker-compose.yml with a real engine.")
    parser.add_argument("--no-training", action="store_true", help="Leave out the training image, the largest one.")
    training = not parser.parse_args().no_training
    started = time.monotonic()
    try:
        with engine() as environment, folders() as work:
            environment |= {"IMAGES": f"{work}/images", "RESULTS": f"{work}/results", "MODELS": f"{work}/models"}
            ComposeChecks(Stack(environment), work).run(training)
    except Failed as exc:
        say(f"FAILED: {exc}")
        return 1
    say(f"all as it should be, in {time.monotonic() - started:.0f} s")
    return 0


@contextmanager
def folders() -> Iterator[Path]:
    """Return a folder with images/, results/, models/, mnist/ and data/, which the containers' user may use."""
    work = Path(tempfile.mkdtemp(prefix="pigeonhole-compose-"))
    try:
        work.chmod(0o755)
        shutil.copytree(ROOT / "samples", work / "images" / "samples")
        for number in range(COPIES):
            shutil.copytree(
                work / "images" / "samples", work / "images" / "more" / f"{number:03}", copy_function=os.link
            )
        for name in ("results", "models", "mnist", "data"):
            (work / name).mkdir()
            if os.getuid() == 0:
                os.chown(work / name, ANY_USER, ANY_USER)
        yield work
    finally:
        shutil.rmtree(work)


class ComposeChecks:
    """All checks, in their order.

    Args:
        stack: the services.
        work: as `folders` made it.
    """

    def __init__(self, stack: Stack, work: Path) -> None:
        self._stack, self._work = stack, work
        self._expected: dict[str, FileRow] = {}

    def run(self, training: bool) -> None:
        """Run all checks, and stop everything that was started."""
        self._build("redis", "producer", "worker", "prometheus")
        self._embedded()
        try:
            self._up()
            self._hardened()
            self._classify()
            self._watch()
            self._stop_gently()
            self._restart_redis()
            self._serve_with_torch()
            if training:
                self._train_and_serve()
                self._import_and_serve()
        except Failed:
            for worker in self._stack.containers("worker"):
                say(f"the log of worker {worker[:12]} ends:\n" + "\n".join(self._stack.log(worker).splitlines()[-20:]))
            raise
        finally:
            self._stack("--profile", "monitoring", "down", "--volumes", "--remove-orphans", "--timeout", "30")
            say("down: containers, networks and volumes are gone")

    def _build(self, *services: str) -> None:
        started = time.monotonic()
        self._stack("build", *services)
        size = {service: self._size(f"pigeonhole-{service}") for service in services}
        sizes = ", ".join(f"{service} {bytes_ / 1e6:,.0f} MB" for service, bytes_ in size.items())
        say(f"build: {sizes}; {time.monotonic() - started:.0f} s")
        if "worker" in size:
            own = size["worker"] - self._size(self._stack.environment.get("PYTHON_IMAGE") or BASE)
            say(f"build: the worker's image adds {own / 1e6:,.0f} MB to its base image")
            check(own < LARGEST_WORKER, f"the worker's image adds more than {LARGEST_WORKER:,} bytes")

    def _size(self, image: str) -> int:
        return int(self._stack.docker("image", "inspect", "-f", "{{.Size}}", image).stdout)

    def _embedded(self) -> None:
        """Classify the samples without containers; compose must return the same rows."""
        program, rows = Path(sys.executable).parent / "pigeonhole", self._work / "embedded.csv"
        check(program.exists(), f"{program} is missing: run this with `make compose-test`")
        own = {name: value for name, value in self._stack.environment.items() if name != "PATH"}
        done = subprocess.run(
            [program, "classify", "samples", "-o", rows, "--quiet"],
            cwd=self._work / "images",
            env=own | {"PATH": os.environ["PATH"]},
            check=False,
        )
        check(done.returncode == ERROR_ROWS, f"the embedded run gave exit code {done.returncode}")
        self._expected = {Path(row.path).name: row for row in read(rows)}
        say(f"embedded: {len(self._expected)} rows to compare with")

    def _up(self, workers: int = WORKERS, **settings: str) -> None:
        started = time.monotonic()
        self._stack.environment |= settings
        self._stack("up", "-d", "--scale", f"worker={workers}")
        running = self._stack.containers("worker")
        check(len(running) == workers, f"{len(running)} workers run, not {workers}")
        for worker in running:
            self._wait_until_healthy(worker)
        say(f"up: {workers} workers are healthy after {time.monotonic() - started:.0f} s")

    def _wait_until_healthy(self, container: str) -> None:
        health = "{{.State.Health.Status}}"
        self._wait(lambda: self._stack.inspect(container, health) == "healthy", f"{container} to be healthy", 180)

    def _wait(self, condition: Callable[[], object], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            check(time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}")
            time.sleep(0.5)

    def _hardened(self) -> None:
        """Check the permissions of a container, from outside and inside."""
        worker, redis = self._stack.containers("worker")[0], self._stack.containers("redis")[0]
        for service, container in (("worker", worker), ("redis", redis)):
            host = json.loads(self._stack.inspect(container, "{{json .HostConfig}}"))
            check(host["ReadonlyRootfs"], f"{service}: its root can be written")
            check(host["Memory"], f"{service}: no memory limit")
            check(not host["PortBindings"], f"{service}: publishes {host['PortBindings']}")
            # tini is process 1; its child is the program.
            seen = self._inside(container, "id -u; grep -h -E '^(CapEff|NoNewPrivs)' /proc/1/status; touch /x || true")
            uid, *rest = seen.splitlines()
            check(uid != "0", f"{service}: runs as root")
            check("CapEff:\t0000000000000000" in rest, f"{service}: has capabilities: {seen}")
            check("NoNewPrivs:\t1" in rest, f"{service}: could gain privileges: {seen}")
            check("Read-only file system" in seen, f"{service}: could write to its root: {seen}")
            say(f"{service}: uid {uid}, read-only root, no capabilities, no new privileges, {host['Memory'] >> 20} MiB")
        seen = self._inside(worker, "touch /images/x /models/x /run/broker/x || true")
        check(seen.count("Read-only") == 3, f"a worker can write where it should only read: {seen}")
        seen = self._inside(redis, "redis-cli ping")
        check("NOAUTH" in seen, f"Redis answers clients without a password: {seen}")
        password = self._inside(redis, "cat /run/broker/password").strip()
        shown = self._stack.docker("inspect", worker, redis).stdout + self._stack.log(worker) + self._stack.log(redis)
        check(password and password not in shown, "Redis' password is shown by `docker inspect` or in a log")
        say("Redis: refuses those without its password, which neither `docker inspect` nor a log shows; no port")

    def _inside(self, container: str, script: str) -> str:
        # One stream, so that its lines come in order.
        return self._stack.docker("exec", container, "sh", "-c", f"exec 2>&1; {script}", check_it=False).stdout

    def _classify(self) -> None:
        """Classify the samples and compare row by row."""
        summary = json.loads(
            self._stack.task(
                "producer", "classify", "/images/samples", "-o", "/results/rows.csv", "--json", codes=(ERROR_ROWS,)
            )
        )
        self._compare("rows.csv", 1)
        self._who_did_what(summary["job"], len(self._expected))
        say(f"classify: {summary['labels']} labels and {summary['errors']} errors, the same as embedded")

    def _compare(self, name: str, copies: int) -> None:
        rows = read(self._work / "results" / name)
        wanted = len(self._expected) * copies
        check(len(rows) == wanted, f"{name}: {len(rows)} rows, not {wanted}")
        check(len({row.path for row in rows}) == wanted, f"{name}: a path comes twice")
        for row in rows:
            expected = self._expected[Path(row.path).name]
            same = row[1:-1] == expected[1:-1] and abs(row.confidence - expected.confidence) <= TOLERANCE
            check(same, f"{name}: {row}, embedded {expected}")
        owner = (self._work / "results" / name).stat().st_uid
        check(owner in (os.getuid(), ANY_USER), f"{name}: belongs to user {owner}")

    def _watch(self) -> None:
        """Check the findings of the doctor and the metrics of Prometheus."""
        self._stack.task("producer", "doctor")
        say("doctor: all is well; it sent an image through the queue")
        self._stack("--profile", "monitoring", "up", "-d", "prometheus")
        [prometheus] = self._stack("--profile", "monitoring", "ps", "-q", "prometheus").stdout.split()

        def asked(query: str) -> str:
            command = ("promtool", "query", "instant", "http://localhost:9090", query)
            return self._stack.docker("exec", prometheus, *command, check_it=False).stdout

        self._wait(lambda: f"=> {WORKERS} @" in asked('sum(up{job="pigeonhole"})'), f"Prometheus to see {WORKERS}", 90)
        wanted = len(self._expected) + 1  # the doctor's
        self._wait(lambda: f"=> {wanted} @" in asked("sum(pigeonhole_images_total)"), f"it to count {wanted}", 60)
        say(f"Prometheus: sees {WORKERS} workers, and {wanted} images that they have done")

    def _who_did_what(self, job: str, images: int) -> dict[str, int]:
        """Return the number of images by worker, from their logs; raise Failed unless each batch was done once."""
        done: dict[str, int] = {}
        numbers: list[str] = []
        for worker in self._workers():
            for number, count in batches(job, self._stack.log(worker)):
                done[worker[:12]] = done.get(worker[:12], 0) + int(count)
                numbers.append(number)
        check(len(set(numbers)) == len(numbers), f"job {job}: a batch was done twice: {sorted(numbers)}")
        check(sum(done.values()) == images, f"job {job}: the workers' logs tell of {done}, not of {images} images")
        check(len(done) > 1, f"job {job}: only one worker did anything: {done}")
        shares = ", ".join(f"{worker} {count}" for worker, count in sorted(done.items()))
        say(f"{len(numbers)} batches on {len(done)} workers, each once: {shares}")
        return done

    def _workers(self) -> list[str]:
        """Return the workers' containers, including stopped ones."""
        label = f"label=com.docker.compose.project={self._stack.environment['COMPOSE_PROJECT_NAME']}"
        service = "label=com.docker.compose.service=worker"
        return self._stack.docker("ps", "--all", "--quiet", "--filter", label, "--filter", service).stdout.split()

    def _stop_gently(self) -> None:
        """Stop a worker during a job: it finishes its current batches, and the others do the rest."""
        images = len(self._expected) * COPIES
        job = self._stack.task("producer", "submit", "/images/more").strip()
        worker = self._workers()[0]
        self._wait(lambda: f"job {job}: batch" in self._stack.log(worker), f"worker {worker} to do a batch", 60)
        started = time.monotonic()
        self._stack.docker("stop", "--time", str(GRACE), worker)
        seconds, code = time.monotonic() - started, self._stack.inspect(worker, "{{.State.ExitCode}}")
        check(code == "0", f"a stopped worker gave exit code {code}")
        done = sum(int(count) for each in self._workers() for _, count in batches(job, self._stack.log(each)))
        check(done < images, "the worker was stopped when all was done, which shows nothing: raise COPIES")
        in_hand = len(batches(job, self._stack.log(worker).partition("Warm shutdown")[2]))
        check(in_hand > 0, "stopped, it finished no batch")
        say(
            f"stop: of {images:,} images some {done:,} are done; {worker} finished the {in_hand} batches it had in hand"
        )
        say(f"stop: it ended {seconds:.1f} s after SIGTERM, with exit code {code}")
        self._stack.task("producer", "wait", job, "-o", "/results/more.csv", codes=(ERROR_ROWS,))
        self._compare("more.csv", COPIES)
        self._who_did_what(job, images)
        again = [line for each in self._workers() for line in self._stack.log(each).splitlines() if "again" in line]
        check(not again, f"batches were lost by a gentle stop: {again}")
        say(f"stop: {images} rows, the same as embedded, no batch done again")
        self._stack.docker("start", worker)
        self._wait_until_healthy(worker)

    def _restart_redis(self) -> None:
        """Kill Redis: the health check fails, acknowledged data is still there, and work continues afterwards."""
        redis, worker = self._stack.containers("redis")[0], self._stack.containers("worker")[0]
        jobs = self._stack.task("producer", "status", "--json")
        self._stack.docker("kill", redis)
        said = self._stack.docker("exec", worker, "python", "-m", "worker.health", check_it=False)
        check(said.returncode == 1, f"without Redis, a worker calls itself {said.stdout}")
        say(f"health check without Redis: {said.stdout.strip()}")
        self._stack.docker("start", redis)
        self._wait_until_healthy(redis)
        started = time.monotonic()
        for each in self._workers():
            self._wait(partial(self._consumes, each), f"{each} to find Redis again", 60)
        say(f"Redis was killed and started: all workers consume {time.monotonic() - started:.0f} s after it answers")
        check(self._stack.task("producer", "status", "--json") == jobs, "Redis lost something when it was killed")
        self._stack.task("producer", "classify", "/images/samples", "-o", "/results/again.csv", codes=(ERROR_ROWS,))
        self._compare("again.csv", 1)
        say("its jobs are still there, and a new one gives the same rows")

    def _consumes(self, worker: str) -> bool:
        return self._stack.docker("exec", worker, "python", "-m", "worker.health", check_it=False).returncode == 0

    def _serve_with_torch(self) -> None:
        """Classify the samples with the other runtime, and compare with the embedded run's ONNX Runtime."""
        self._stack.environment["WORKER_TARGET"] = "worker-torch"
        self._stack("build", "worker")
        self._up(workers=2, PIGEONHOLE_RUNTIME="torch")
        for worker in self._stack.containers("worker"):
            check("(torch/f32)" in self._stack.log(worker), f"{worker} does not say that it runs torch")
        self._stack.task("producer", "classify", "/images/samples", "-o", "/results/torch.csv", codes=(ERROR_ROWS,))
        self._compare("torch.csv", 1)
        self._stack.environment |= {"WORKER_TARGET": "worker", "PIGEONHOLE_RUNTIME": "auto"}
        say("torch: the same rows as ONNX Runtime's")

    def _import_and_serve(self) -> None:
        """Import a raw state_dict of the classic network, and serve it with each runtime."""
        self._stack("run", "--rm", "-T", "--entrypoint", "python", "training", "-c", SAVE_CLASSIC)
        self._stack.task("training", "import", "/models/mnist_cnn.pt", "-o", "/models/classic.safetensors")
        for runtime, target in (("onnxruntime", "worker"), ("torch", "worker-torch")):
            self._stack.environment["WORKER_TARGET"] = target
            self._up(workers=2, PIGEONHOLE_MODEL="/models/classic.safetensors", PIGEONHOLE_RUNTIME=runtime)
            output = f"/results/{runtime}.csv"
            self._stack.task("producer", "classify", "/images/samples", "-o", output, codes=(ERROR_ROWS,))
        ours, theirs = (read(self._work / "results" / f"{runtime}.csv") for runtime in ("onnxruntime", "torch"))
        for row, other in zip(ours, theirs, strict=True):
            same = row[:-1] == other[:-1] and abs(row.confidence - other.confidence) <= TOLERANCE
            check(same, f"{row} by ONNX Runtime, {other} by torch")
        check(ours[0].model.startswith("classic@"), f"rows come from {ours[0].model}")
        say(f"imported: {len(ours)} rows by each runtime, and they agree")

    def _train_and_serve(self) -> None:
        """Train on a stand-in for MNIST and on a folder of class folders, and serve the latter's checkpoint."""
        pinned = self._stack.environment.get("TORCH")
        if is_lab(self._stack.environment):
            # torchvision in the image only fits the index's torch.
            self._stack.environment["TORCH"] = "torch"
        self._build("training")
        self._stack.environment |= {"DATA": str(self._work / "mnist"), "TORCH": pinned or "torch"}
        write_stand_in(self._work / "mnist" / "MNIST" / "raw")
        self._train("--epochs", "1", "-o", "/models/bars.safetensors")
        self._stack.environment["DATA"] = str(self._work / "data")
        truth = write_class_folders(self._work / "data")
        self._train("--dataset", "folder:/data", "--epochs", "20", "-o", "/models/mine.safetensors")
        self._up(workers=2, PIGEONHOLE_MODEL="/models/mine.safetensors")
        self._stack.task("producer", "classify", "/images/samples", "-o", "/results/mine.csv", codes=(ERROR_ROWS,))
        rows = read(self._work / "results" / "mine.csv")
        models = {row.model.partition("@")[0] for row in rows}
        check(models == {"mine"}, f"rows come from {models}, not from the checkpoint just trained")
        right = sum(row.label == truth.get(Path(row.path).name) for row in rows)
        check(
            right >= LEARNED * len(truth), f"of the {len(truth)} images that it was trained on, only {right} are right"
        )
        say(f"served: every row names the checkpoint just trained, and {right} of the {len(truth)} labels are right")

    def _train(self, *arguments: str) -> None:
        started = time.monotonic()
        said = self._stack.task("training", "train", *arguments)
        say(f"training: {'; '.join(said.splitlines())}; {time.monotonic() - started:.0f} s with its container")


def batches(job: str, log: str) -> list[tuple[str, str]]:
    """Return the number and the images of each batch of a job, from a worker's log."""
    return re.findall(rf"job {job}: batch (\d+): (\d+) images", log)


def read(path: Path) -> list[FileRow]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            FileRow(row["path"], row["label"], row["review"], row["error"], row["model"], float(row["confidence"] or 0))
            for row in csv.DictReader(file)
        ]


def write_stand_in(raw: Path) -> None:
    """Write files in MNIST's format with bars instead of digits, to test that training runs."""
    raw.mkdir(parents=True)
    for part, images in (("train", 6000), ("t10k", 500)):
        labels = bytes(number % 10 for number in range(images))
        rows = (b"\xff" * 28 if row // 2 == label + 1 else bytes(28) for label in labels for row in range(28))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, images) + labels)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, images, 28, 28) + b"".join(rows))


def write_class_folders(top: Path) -> dict[str, str]:
    """Copy the labelled samples into a folder for each label, and return name → label."""
    truth = {}
    with (ROOT / "samples-labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            image = ROOT / row["path"]
            truth[image.name] = row["label"]
            (top / row["label"]).mkdir(exist_ok=True)
            shutil.copy(image, top / row["label"])
    return truth


if __name__ == "__main__":
    sys.exit(main())
