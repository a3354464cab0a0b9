"""The commands that the README and the guide show run, from the first to the last of each page."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.ledger.conftest import Server

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
#: Lines that are not run → why.
NOT_RUN = {
    r"\bdocker\b|docker-compose|^\$? ?export (IMAGES|RUN_AS)=": "needs Docker; `make compose-test` runs these",
    r"\bpip install\b|^make venv": "needs the package index; tests/packaging installs the wheel",
    r"^make ": "a target of CONTRIBUTING.md, of which each says what it needs",
    r"^\. \.venv/bin/activate": "the environment of the tests is used",
    r"\bcuda\b": "needs a GPU; tests/worker/devices/test_devices.py runs these",
    r"RUNTIME=torch|^celery ": "starts slowly; tests/e2e/test_runtimes.py and test_surroundings.py run these",
    r"(torchvision|timm|hf):": "needs a network or a cache; tests/producer/models/test_import_hubs.py runs these",
    r"import (model|tags|weights)\.|--model model\.": "needs model files; tests/producer/models/test_import_kinds.py",
    r"\bmine-int8|--int8": "takes minutes; tests/producer/models/test_export_int8.py runs these",
    r"redis-server|redis-cli|/etc/redis|/run/secrets|/mnt/|rediss://": "a Redis and folders of the test are used",
    r"^curl ": "needs a port that is free; tests/worker/monitoring/test_watched.py reads the metrics",
    r"--pretrained": "needs weights of torchvision; tests/training/loop/test_initial_weights.py has a stand-in",
    r"--network digits ": "draws synthetic digits for minutes; tests/training/test_cli.py trains one",
    r"evaluate digits mine\.": "needs a second model of the same classes; own-images.md compares two",
    r"^jq ": "a program of its own",
    r"\bsqlite3\b": "a program of its own; tests/sinks reads databases",
}
#: Pages with parts that another test runs → the languages of these parts.
ELSEWHERE = {"models.md": "python"}  # tests/producer/models/test_export.py
BLOCK = re.compile(r"^```(sh|console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Stands for the program: an error row is no failure, one epoch is enough, and a training replaces an earlier one.
PROGRAM = f"""#!/bin/sh
case $1 in
    train) case "$*" in *--resume*) ;; *) set -- "$@" --overwrite ;; esac
        exec "{Path(sys.executable).parent}/pigeonhole" "$@" --device cpu --epochs 1 ;;
    worker) exec "{Path(sys.executable).parent}/pigeonhole" "$@" ;;
    *) "{Path(sys.executable).parent}/pigeonhole" "$@" || [ $? = 3 ] ;;
esac
"""


def lines_of(block: str, language: str) -> list[str]:
    """Return the command lines of a block: all of a shell's, and those with a prompt of a terminal's."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line[2:] for line in lines if line.startswith("$ ")] if language == "console" else lines


def script(page: Path) -> str:
    """Return the commands and programs of a page as one shell script."""
    parts = ["set -eu"]
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            if ELSEWHERE.get(page.name) != "python":
                parts.append(f"{sys.executable} - <<'END'\n{block}END")
            continue
        parts += [line for line in lines_of(block, language) if not any(re.search(why, line) for why in NOT_RUN)]
    return "\n".join(parts)


def pictures(folder: Path, number: int, suffix: str) -> None:
    """Write pictures of 32 x 32 in colour, each of its own shade."""
    lot = np.random.default_rng(zlib.crc32(bytes(folder)))
    folder.mkdir(parents=True)
    for index in range(number):
        pixels = lot.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"IMG_{folder.name}{index:03}{suffix}")


@pytest.fixture
def folder(home: Path) -> Path:
    """A user's folder with all that the pages name."""
    shutil.copy(ROOT / "samples-labels.csv", home)
    shutil.copytree(ROOT / "deploy", home / "deploy")
    for name, number in (("photos", 10), ("more-photos", 10), ("labelled", 20), ("Dataset", 60)):
        for label in ("0", "1"):
            pictures(home / name / label, number, ".JPG")
    pictures(home / "new-photos", 5, ".JPG")
    Image.open(home / "samples" / "003b50.png").save(home / "photo.jpg")
    with (home / "samples-labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name in ("digits", "my-folder", "outliers"):
                (home / name / row["label"]).mkdir(parents=True, exist_ok=True)
                shutil.copy(home / row["path"], home / name / row["label"])
    with (home / "corrections.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "was", "confidence"])
        table.writerows([f"photos/0/IMG_0{index:03}.JPG", "1", "0", "0.5"] for index in range(3))
    (home / "list.txt").write_text("samples/003b50.png\n")
    (home / "names.csv").write_text("class,label\n0,zero\n1,one\n")
    return home


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis in which the doctor finds no fault."""
    server = Server(tmp_path_factory.mktemp("own"), "--appendonly", "yes", "--appendfsync", "always")
    yield server.url
    server.kill()


@pytest.mark.timeout(600)  # some ten commands, one after the other
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_their_order(page: Path, folder: Path, broker: str) -> None:
    program = folder / ".bin" / "pigeonhole"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    text = script(page).replace("redis://localhost:6379/0", broker)
    # Others use the cores too.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    # Into a file: workers in the background would keep a pipe open.
    with (folder / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-xc", text], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = shell.wait()
        finally:
            with suppress(ProcessLookupError):  # it left no worker
                os.killpg(shell.pid, signal.SIGKILL)
    assert code == 0, (folder / "log").read_text(errors="replace")[-4000:]


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_a_line_is_left_out_only_where_a_page_has_one(pattern: str) -> None:
    lines = [
        line
        for page in PAGES
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8"))
        for line in lines_of(block, language)
    ]
    assert any(re.search(pattern, line) for line in lines)
