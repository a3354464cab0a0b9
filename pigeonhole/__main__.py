"""The program `pigeonhole`, also as `python -m pigeonhole`."""

import sys

from pigeonhole.installation import foreign_package


def main() -> None:
    """Run the program, with this installation's packages only."""
    wrong = foreign_package()
    if wrong:
        name = "pigeonhole worker" if sys.argv[1:2] == ["worker"] else "pigeonhole"  # as `worker.refusal` has it
        sys.stderr.write(f"{name}: {wrong}\n")
        sys.exit(2)  # ExitCode.USAGE
    from producer.program import main as program

    program()


if __name__ == "__main__":  # and not where a spawned process imports this again
    if not sys.flags.safe_path:
        del sys.path[0]  # `-m` puts the working folder first, which may hold a producer.py or worker/ of the user's
    main()
