"""Run the steps of a page in one shell, and capture what each prints."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.common.broker import broker
from scripts.outputs.folder import FOLDER
from scripts.outputs.page import Step

#: Commands that are not run → why.
NOT_RUN = {
    r"\bdocker\b|docker-compose|^export (IMAGES|RUN_AS)=": "needs Docker; `make compose-test` runs these",
    r"\bpip install\b|^make venv": "needs the package index; tests/packaging installs the wheel",
    r"^make ": "a target of CONTRIBUTING.md, of which each says what it needs",
    r"^\. \.venv/bin/activate": "the environment of the tests is used",
    r"\bcuda\b": "needs a GPU; tests/worker/devices/test_devices.py runs these",
    r"RUNTIME=torch|^celery ": "starts slowly; tests/e2e/test_runtimes.py and test_surroundings.py run these",
    r"(torchvision|timm|hf):": "needs a network or a cache; tests/producer/models/test_import_hubs.py runs these",
    r"import (model|tags|weights)\.|--model model\.": "needs model files; tests/producer/models/test_import_kinds.py",
    r"\bmine-int8|--int8": "takes minutes; tests/producer/models/test_export_int8.py runs these",
    r"redis-server|redis-cli|/etc/redis|/run/secrets|/mnt/|rediss?://\w+\.": "a Redis and folders of the test are used",
    r"^curl ": "needs a port that is free; tests/worker/monitoring/test_watched.py reads the metrics",
    r"--pretrained": "needs weights of torchvision; tests/training/loop/test_initial_weights.py has a stand-in",
    r"--network digits ": "draws synthetic digits for minutes; tests/training/test_cli.py trains one",
}
#: Programs that are not Pigeonhole's and may be missing: commands that begin with one then are not run.
OTHERS = ("jq", "sqlite3")
#: A line of progress; how many lines there are depends on the machine.
_PROGRESS = re.compile(r"\d[\d,]* of \d[\d,]* images, .*\bto review, \d+ workers?\b")
#: The broker of the pages; a Redis of this run stands for it.
BROKER = "redis://localhost:6379/0"


@dataclass
class Result:
    """What a page's steps printed.

    Args:
        code: Exit code of the shell: 0 if every step succeeded.
        printed: Number of a step → the lines that it printed; steps that were not run are missing.
        last: The last step that was run, with what it printed.
    """

    code: int
    printed: dict[int, list[str]]
    last: str


def why_not(step: Step) -> str | None:
    """Return why a step is not run, or None if it is."""
    missing = next((name for name in OTHERS if step.code.startswith(name) and not shutil.which(name)), None)
    if missing:
        return f"{missing} is not installed"
    if step.language == "python":
        return None
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, step.code)), None)


def run(steps: Sequence[Step], root: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Result:
    """Run the steps of a page, from the first to the last, and end all that they started.

    Args:
        steps: Steps of the page.
        root: Folder in which `folder.prepare` made the user's folder.
        settings: Settings of Pigeonhole, as environment variables.
    """
    outputs = root / "outputs"
    outputs.mkdir()
    # The doctor finds no fault in a Redis with these options.
    with broker("--appendonly", "yes", "--appendfsync", "always") as socket_path:
        url = f"unix://{socket_path}"
        code = _run_script(_script(steps, outputs).replace(BROKER, url), root, settings)
        places = {url: BROKER, str(root): "", f"@{socket.gethostname()}": "@one"}
        printed = {int(file.name): _read(file, places) for file in outputs.iterdir()}
    last = max(printed, default=None)
    return Result(code, printed, "" if last is None else "\n".join([f"$ {steps[last].code}", *printed[last]]))


def _script(steps: Sequence[Step], outputs: Path) -> str:
    """Return a script that runs the steps, each with its output in a file of its own."""
    parts = ["set -eu"]
    for number, step in enumerate(steps):
        if why_not(step) is None:
            code = f"{sys.executable} - <<'END'\n{step.code}\nEND" if step.language == "python" else step.code
            parts += [f"exec >'{outputs}/{number}' 2>&1", code]
    return "\n".join(parts)


def _run_script(script: str, root: Path, settings: Mapping[str, str]) -> int:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PIGEONHOLE_")}
    # Other processes use the cores too.
    environment = outside | {"OMP_NUM_THREADS": "1", "PATH": f"{root / 'bin'}:{os.environ['PATH']}", **settings}
    shell = subprocess.Popen(
        ["bash", "-c", script], cwd=root / FOLDER, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return shell.wait()
    finally:
        with suppress(ProcessLookupError):  # the steps left no worker
            os.killpg(shell.pid, signal.SIGKILL)


def _read(file: Path, places: dict[str, str]) -> list[str]:
    """Return the lines of an output without progress, and with the pages' names in place of this machine's."""
    text = file.read_text(errors="replace")
    for here, shown in places.items():
        text = text.replace(here, shown)
    return [line for line in text.rstrip().splitlines() if not _PROGRESS.match(line)]
