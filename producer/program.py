"""The entry point: sets up signals, then runs `producer.cli`. Ctrl-C during the import is handled too."""

import gc
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

#: Seconds until a lost Ctrl-C is repeated; by then the finaliser that lost it has returned.
_AGAIN = 0.01


def main() -> None:
    """Run the program; SIGTERM and SIGHUP interrupt it as Ctrl-C does."""
    if sys.platform == "win32":  # without fcntl, the imports below would end in a traceback
        sys.stderr.write("pigeonhole: Windows is not supported; run it in WSL or in Docker (docs/guide/compose.md)\n")
        sys.exit(2)  # ExitCode.USAGE, which may not be imported yet
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores SIGHUP
            signal.signal(number, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again
    collect_seldom()
    try:
        from producer.cli import main as program

        program()
    except KeyboardInterrupt:
        sys.exit(130)  # ExitCode.INTERRUPTED, which may not be imported yet


def collect_seldom() -> None:
    """Run the cyclic garbage collector only every 50,000 objects, because rows form no cycles.

    At the default of 700, collecting takes as long as building the rows.
    """
    gc.set_threshold(50_000)


def _interrupt_again(lost: "UnraisableHookArgs") -> None:
    """Repeat a KeyboardInterrupt that was raised in a finaliser, where Python ignores exceptions."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)  # SIGALRM interrupts
    else:
        sys.__unraisablehook__(lost)
