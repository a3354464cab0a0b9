"""The entry point: `producer.cli`, and an interruption while even that is being imported."""

import gc
import signal
import sys


def main() -> None:
    """Run the program; who ends it by SIGTERM or a hang-up is told how to go on, as after Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, signal.default_int_handler)
    # Rows are many and in no circle: looking for circles after every 700 of them takes as long as making them.
    gc.set_threshold(50_000)
    try:
        from producer.cli import main as program

        program()
    except KeyboardInterrupt:
        sys.exit(130)  # ExitCode.INTERRUPTED, which may not be imported yet
