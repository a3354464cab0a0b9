"""Start and stop the Docker engine and the services of docker-compose.yml."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LAB = ROOT.parent / "shared" / "compose-lab"
#: The lab's pip has a CPU build of this package; its index has only builds with CUDA, of gigabytes.
LAB_TORCH = "torch==2.13.0"
#: The user in the containers if this runs as root, because root passes every check of permissions.
ANY_USER = 1000
NO_ENGINE = 2


class Failed(Exception):
    """Raised when a check fails; the message names it."""


def say(line: str) -> None:
    """Print a line unbuffered, because builds take minutes."""
    print(f"compose-test: {line}", flush=True)


def check(condition: object, wrong: str) -> None:
    """Fail unless the condition holds."""
    if not condition:
        raise Failed(wrong)


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Yield the environment in which `docker` reaches an engine; stop the engine afterwards if it was started here."""
    # Neither the services nor the embedded run may use the caller's settings.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIGEONHOLE_", "COMPOSE_"))
    }
    environment |= {"COMPOSE_PROJECT_NAME": "pigeonhole-test", "COMPOSE_FILE": str(ROOT / "docker-compose.yml")}
    uid, gid = (os.getuid(), os.getgid()) if os.getuid() else (ANY_USER, ANY_USER)
    environment["RUN_AS"] = f"{uid}:{gid}"
    if answers(environment):
        yield pinned(environment)
        return
    if os.getuid() or not (LAB / "up").exists():
        say("there is no Docker engine that `docker info` can reach: install and start Docker, or set DOCKER_HOST")
        sys.exit(NO_ENGINE)
    say("engine: none runs; starting the one of the lab (3 minutes the first time)")
    script = f'exports=$({LAB}/up) && eval "$exports" && env -0'
    done = subprocess.run(["bash", "-c", script], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    try:
        check(done.returncode == 0, "the engine of the lab did not start")
        environment = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if "=" in entry)
        yield pinned(environment)
    finally:
        say("engine: stopping the lab's")
        subprocess.run([LAB / "down"], check=False)


def is_lab(environment: Mapping[str, str]) -> bool:
    """Return whether the engine is the lab's, even if this run has not started it."""
    return LAB.name in environment.get("DOCKER_HOST", "")


def pinned(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment with the lab's version of torch if the engine is the lab's."""
    return {"TORCH": LAB_TORCH} | environment if is_lab(environment) else environment


def answers(environment: Mapping[str, str]) -> bool:
    """Return whether `docker` is installed and reaches an engine."""
    try:
        return subprocess.run(["docker", "info"], env=environment, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Stack:
    """The services of docker-compose.yml, under their own project name.

    Args:
        environment: The environment of `docker`; it also has the values for the variables of docker-compose.yml.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        plugin = self.docker("compose", "version", "--short", check_it=False)
        # `docker compose` if the plugin is installed, otherwise the older program `docker-compose`.
        self._program = ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]
        try:
            version = plugin.stdout.strip() or self("version", "--short").stdout.strip()
        except FileNotFoundError:
            raise Failed("neither `docker compose` nor `docker-compose` is installed") from None
        server = self.docker("version", "--format", "{{.Server.Version}}").stdout.strip()
        say(f"engine: Docker {server}, {' '.join(self._program)} {version}")

    def __call__(self, *arguments: str, codes: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run compose; raise Failed with its output if the exit code is not one of `codes`."""
        return self._run([*self._program, *arguments], codes)

    def docker(self, *arguments: str, check_it: bool = True) -> subprocess.CompletedProcess[str]:
        """Run docker itself."""
        return self._run(["docker", *arguments], (0,) if check_it else range(256))

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers."""
        return self("ps", "-q", service).stdout.split()

    def inspect(self, container: str, template: str) -> str:
        """Return the output of `docker inspect` for a container."""
        return self.docker("inspect", "--format", template, container).stdout.strip()

    def log(self, container: str) -> str:
        """Return the output of a container: standard output and standard error, in order."""
        return self.docker("logs", container).stdout

    def task(self, service: str, *arguments: str, codes: Sequence[int] = (0,)) -> str:
        """Run a one-off task as a user would, and return its standard output."""
        say(f"$ {' '.join(self._program)} run --rm {service} {' '.join(arguments)}")
        return self("run", "--rm", "-T", service, *arguments, codes=codes).stdout

    def _run(self, command: list[str], codes: Sequence[int]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            # A log needs both outputs in their order; a task's result is its standard output only.
            stderr=subprocess.STDOUT if command[1] in ("logs", "exec") else subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode not in codes:
            output = "\n".join((done.stdout + (done.stderr or "")).splitlines()[-30:])
            raise Failed(f"`{' '.join(command)}` gave exit code {done.returncode}:\n{output}")
        return done
