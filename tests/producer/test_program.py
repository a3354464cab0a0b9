"""The end of the program, the completion of its shells, and its refusal to run on Windows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pigeonhole.errors import ExitCode

# The signal arrives in a finaliser, where Python ignores KeyboardInterrupt.
_PROGRAM = """
import os, signal, sys, time
import producer.cli
from producer import program


class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.2)


def command():
    Slow()
    time.sleep(20)


producer.cli.main = command
program.main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interruption_in_a_finaliser_is_not_lost(name: str) -> None:
    program = _PROGRAM.replace("{name}", name)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=15, check=False)
    assert (run.returncode, run.stderr) == (130, b"")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_matching_commands(shell: str) -> None:
    variables = {
        "_PIGEONHOLE_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "pigeonhole cl",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    line = [sys.executable, "-m", "pigeonhole"]
    completed = subprocess.run(line, env=os.environ | variables, capture_output=True, text=True, check=True, timeout=15)
    assert "classify" in completed.stdout
    assert "cancel" not in completed.stdout


def test_completion_is_installed_for_the_calling_shell(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "pigeonhole"
    complete = 'COMP_WORDS=(pigeonhole sta); COMP_CWORD=1; _pigeonhole_completion pigeonhole; echo "${COMPREPLY[@]}"'
    script = f"{program} --install-completion && . ~/.bashrc && PATH={program.parent}:$PATH && {complete}"
    home = os.environ | {"HOME": str(tmp_path)}
    run = subprocess.run(["bash", "-c", script], env=home, capture_output=True, text=True, timeout=15, check=False)
    assert run.stdout.splitlines()[-1] == "status", run.stderr


# A simulated Windows: no fcntl, no SIGHUP.
_WINDOWS = """
import signal, sys, threading
sys.modules["fcntl"] = None
sys.platform = "win32"
del signal.SIGHUP
from producer.program import main
main()
"""


@pytest.mark.parametrize("arguments", [["--help"], ["classify", "photos"]])
def test_on_windows_the_error_names_wsl_and_docker(arguments: list[str]) -> None:
    run = subprocess.run([sys.executable, "-c", _WINDOWS, *arguments], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (ExitCode.USAGE, "")
    assert re.fullmatch(r"pigeonhole: .*Windows.*WSL.*Docker.*docs/guide/compose\.md.*\n", run.stderr)


def test_on_windows_importing_pigeonhole_raises_the_same_error() -> None:
    script = _WINDOWS.replace("from producer.program import main\nmain()", "from pigeonhole import Client")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert re.search(r"^ImportError: .*Windows.*WSL.*Docker", run.stderr, re.MULTILINE)
