"""The program `pigeonhole`, also as `python -m pigeonhole`."""

import sys

from pigeonhole.installation import foreign_package


def main() -> None:
    """Run the program, with this installation's packages only."""
    _check("pigeonhole worker" if sys.argv[1:2] == ["worker"] else "pigeonhole")  # as `worker.refusal` has it
    from producer.program import main as program

    program()


def embedded_worker() -> None:
    """Run a worker as `pigeonhole worker` does, without the command line, which takes a fifth of a second to import."""
    _check("pigeonhole worker")
    from worker.start import run

    sys.exit(run("celery@%h", "WARNING"))


def _check(name: str) -> None:
    """End the process in words if another project's package hides one of ours."""
    wrong = foreign_package()
    if wrong:
        sys.stderr.write(f"{name}: {wrong}\n")
        sys.exit(2)  # ExitCode.USAGE


if __name__ == "__main__":  # and not where a spawned process imports this again
    if not sys.flags.safe_path:
        del sys.path[0]  # `-m` puts the working folder first, which may hold a producer.py or worker/ of the user's
    main()
