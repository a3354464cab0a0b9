"""The Python interface with a Redis and workers of its own."""

import doctest
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pigeonhole import Client
from pigeonhole.errors import UsageError
from tests.conftest import ROOT, children, wait_for
from tests.e2e.conftest import leftovers

# A program that is interrupted between two rows, without closing anything.
_PROGRAM = """
import os, signal
from pigeonhole import Client

rows = iter(Client().classify("samples"))
print(next(rows).label, flush=True)
os.kill(os.getpid(), signal.SIGINT)
list(rows)
"""


def test_the_examples_of_the_python_guide_run_and_their_processes_end_with_the_client(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    shown = re.findall(r"```pycon\n(.*?)```", (ROOT / "docs" / "guide" / "python.md").read_text(), re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("".join(shown), {}, "docs/guide/python.md", None, None)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    failures: list[str] = []
    runner.run(examples, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
    client = examples.globs["client"]
    assert isinstance(client, Client)
    with client:
        job = client.submit("samples/003b50.png")
        (row,) = client.wait(job)
        assert (row.path, row.label, row.model.partition("@")[0]) == ("samples/003b50.png", "8", "digits")
        next(iter(client.classify("samples")))  # leaving the block ends the run
        assert children(os.getpid(), b"pigeonhole.embedded.supervisor")
    assert not children(os.getpid(), b"pigeonhole.embedded.supervisor")
    with pytest.raises(UsageError, match="Client is closed"):
        client.status(job)


def test_an_interrupted_program_with_an_open_client_leaves_no_processes_or_files(home: Path, temporary: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=home,
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode in (-signal.SIGINT, 1)
    assert run.stdout.strip().isdigit()
    assert run.stderr.rstrip().endswith(b"KeyboardInterrupt")
    wait_for(lambda: not leftovers(temporary), "the end of the embedded processes")
