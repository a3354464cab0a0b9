"""The entry point: `producer.cli`, and an interruption while even that is being imported."""

import gc
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

#: Seconds after which an interruption that got lost is repeated: by then, whatever lost it has come to its end.
_AGAIN = 0.01


def main() -> None:
    """Run the program; who ends it by SIGTERM or a hang-up is told how to go on, as after Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, signal.default_int_handler)
    sys.unraisablehook = _not_lost
    collect_seldom()
    try:
        from producer.cli import main as program

        program()
    except KeyboardInterrupt:
        sys.exit(130)  # ExitCode.INTERRUPTED, which may not be imported yet


def collect_seldom() -> None:
    """Have Python look for circles of garbage seldom: rows are many, and in none of them.

    After every 700 of them, as is the default, looking takes as long as making them.
    """
    gc.set_threshold(50_000)


def _not_lost(lost: "UnraisableHookArgs") -> None:
    """Interrupt again where it came while an object was being cleaned away: Python ignores what is raised there."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        main = threading.get_ident()  # where signals are handled, and so where it was lost
        threading.Timer(_AGAIN, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)
