"""Run the embedded Redis and workers until standard input closes.

A command starts this program as a child process and holds the other end of the pipe. However the command ends, the pipe
closes. The program then kills Redis and the workers and removes their folder. No clean shutdown is needed, since
nothing is saved.

    python -m pigeonhole.embedded.supervisor FOLDER -- REDIS … -- WORKER …

If Redis or the worker ends by itself, the program prints one line and still waits for its input to close.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from pigeonhole.processes import end_with

#: The file that lists the process groups that were started.
_GROUPS = "groups"


def started(folder: str) -> list[int]:
    """Return the process groups that were started, for a command whose supervisor does not end them."""
    try:
        with open(os.path.join(folder, _GROUPS)) as file:
            return [int(line) for line in file]
    except FileNotFoundError:
        return []


def _start(command: Sequence[str], folder: str, name: str) -> "subprocess.Popen[bytes]":
    with open(os.path.join(folder, f"{name}.log"), "wb") as log, open(os.path.join(folder, _GROUPS), "a") as groups:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own: killed with its children
            # The processes end with the supervisor even if it is killed. Safe here: the supervisor has one thread.
            preexec_fn=partial(end_with, os.getpid()),
        )
        groups.write(f"{process.pid}\n")
    return process


def _kill(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # ended by itself
    for process in processes:
        process.wait()


def main() -> None:
    """Run until standard input closes."""
    folder, _, *commands = sys.argv[1:]
    between = commands.index("--")
    # The command handles Ctrl-C and hang-ups; it ends this process by closing the pipe.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    processes = []
    try:
        processes.append(_start(commands[:between], folder, "redis"))
        processes.append(_start(commands[between + 1 :], folder, "worker"))
        reported = False
        while not select.select([0], [], [], 0.1)[0] or os.read(0, 1):
            for name, process in zip(("redis", "worker"), processes, strict=True):
                if not reported and process.poll() is not None:
                    sys.stdout.write(f"{name} {process.returncode}\n")
                    sys.stdout.flush()
                    reported = True
    finally:
        _kill(processes)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
