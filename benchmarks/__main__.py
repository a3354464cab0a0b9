"""`make bench`: compare Pigeonhole with other common ways to classify images, in one run.

No other program should run at the same time. Each section is printed when it is measured. docs/benchmarks.md and its
plots are written at the end of a complete run.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.common import machine
from benchmarks.common.machine import ROOT
from benchmarks.systems import Scale

SECTIONS = ("systems", "photos", "imagenet", "commands", "workers", "stages")


def main() -> None:
    """Measure, print and write the sections."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="compare with the bare loop on the samples; write nothing")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="measure this section; write nothing")
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "mnist", help="folder with MNIST/raw")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder to write to")
    for name, value in vars(Scale()).items():
        parser.add_argument(f"--{name}", type=int, help=f"[{value:,}]")
    arguments = parser.parse_args()
    given = {name: getattr(arguments, name) for name in vars(Scale()) if getattr(arguments, name) is not None}
    machine.limit()
    # Imported after the limits on threads are set, because its imports read them.
    from benchmarks import report

    with tempfile.TemporaryDirectory(prefix="pigeonhole-bench-") as folder:
        if arguments.quick:
            report.quick(Path(folder), Scale(**{"rounds": 3, "digits": 8_000} | given))
        else:
            wanted = arguments.only or SECTIONS
            whole = report.measure_all(Path(folder), arguments.data, Scale(**given), wanted)
            if not arguments.only:
                report.write(whole, arguments.docs)


if __name__ == "__main__":
    main()
