"""How the program ends."""

import subprocess
import sys

# An object whose end takes long, in which the interruption comes.
_PROGRAM = """
import os, signal, sys, time
import producer.cli
from producer import program


class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)


def command():
    Slow()
    time.sleep(20)


producer.cli.main = command
program.main()
"""


def test_an_interruption_that_comes_while_an_object_is_cleaned_away_is_not_lost() -> None:
    run = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, timeout=15, check=False)
    assert run.returncode == 130, run.stderr
