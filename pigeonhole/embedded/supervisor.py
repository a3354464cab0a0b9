"""Keeps the embedded Redis and workers for exactly as long as somebody holds its standard input open.

The command that wants them starts this as a process of its own and keeps the other end of the pipe. However that
command ends, the pipe closes, and then everything here is killed and its folder removed. Nothing in it is worth a
gentle end: the ledger goes with its Redis.

    python -m pigeonhole.embedded.supervisor FOLDER -- REDIS … -- WORKER …

It prints one line when one of the two ends by itself, and waits for its input to close then too.
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

#: The file that lists the process groups which were started.
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
            # Should the keeper itself be killed, nothing stays. It has no other threads, which would forbid this.
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
    # The terminal's Ctrl-C and a hang-up are the command's to act on; closing the pipe is how it tells us.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    processes = []
    try:
        processes.append(_start(commands[:between], folder, "redis"))
        processes.append(_start(commands[between + 1 :], folder, "worker"))
        told = False
        while not select.select([0], [], [], 0.1)[0] or os.read(0, 1):
            for name, process in zip(("redis", "worker"), processes, strict=True):
                if not told and process.poll() is not None:
                    sys.stdout.write(f"{name} {process.returncode}\n")
                    sys.stdout.flush()
                    told = True
    finally:
        _kill(processes)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
