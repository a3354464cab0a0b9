"""The program `pigeonhole`, also as `python -m pigeonhole`."""

import sys

from pigeonhole.installation import foreign_package


def main() -> None:
    """Run the program `pigeonhole`, after a check that no other project's packages hide ours."""
    _check("pigeonhole worker" if sys.argv[1:2] == ["worker"] else "pigeonhole")  # the names in other messages, too
    from producer.program import main as program

    program()


def embedded_worker() -> None:
    """Run a worker like `pigeonhole worker`, but skip the command line, which takes 0.2 s to import."""
    _check("pigeonhole worker")
    from worker.start import run

    sys.exit(run("celery@%h", "WARNING"))


def _check(name: str) -> None:
    """Exit with a message if another project's package hides one of ours."""
    wrong = foreign_package()
    if wrong:
        sys.stderr.write(f"{name}: {wrong}\n")
        sys.exit(2)  # ExitCode.USAGE


if __name__ == "__main__":  # a spawned process imports this module again, under another name
    if not sys.flags.safe_path:
        del sys.path[0]  # `-m` puts the working folder first, and the user may have a producer.py or worker/ there
    main()
