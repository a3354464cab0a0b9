"""`make chaos`: a large job under all faults at once, and a command whose images, volume, Redis and FILE change.

    python -m tests.chaos --runs 10 --seed 1

Each job is compared row by row with an undisturbed run, and the rows of each command with the images at its end. Each
run has its own Redis, whose file is written once a second, and two workers of two processes. The seed determines the
faults, their targets and the pauses between them; their effects also depend on the machine.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.changes import changing
from tests.chaos.run import Outcome, Undisturbed, chaotic, undisturbed
from tests.chaos.search import search
from tests.faults.site import Site


def main() -> int:
    """Run the chaos tests and return the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1, help="number of runs, each with the next seed [1]")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="seed of the first run [random]")
    parser.add_argument("--copies", type=int, default=200, help="copies of the 203 samples [200]")
    parser.add_argument("--pause", type=float, default=0.005, help="seconds that opening an image takes [0.005]")
    parser.add_argument("--away", type=float, default=60.0, help="seconds of the longest outage [60]")
    parser.add_argument("--changing", type=int, default=4000, help="images of the command under changes [4000]")
    parser.add_argument("--model", action="store_true", help="search the interleavings of two faults as well")
    options = parser.parse_args()
    if options.model:
        search()
    folder = Path(tempfile.mkdtemp(prefix="pigeonhole-chaos-"))
    baseline, outcomes, changed = None, list[Outcome](), list[Outcome]()
    try:
        baseline = undisturbed(_site(folder, "undisturbed", options.pause), options.copies)
        print(f"undisturbed: {len(baseline.listed):,} images in {baseline.seconds:.0f} s", flush=True)
        for seed in range(options.seed, options.seed + options.runs):
            print(f"seed {seed}", flush=True)
            outcomes.append(chaotic(_site(folder, str(seed), options.pause), baseline, seed, options.away))
            print(f"  {outcomes[-1]}", flush=True)
            changed.append(
                changing(_site(folder, f"changing-{seed}", options.pause), baseline.rows, seed, options.changing)
            )
            print(f"  under changes: {changed[-1]}", flush=True)
    finally:
        if baseline and outcomes:
            print(_table(baseline, outcomes))
        wrong = any(outcome.wrong for outcome in (*outcomes, *changed))
        failed = not baseline or len(changed) < options.runs or wrong
        if failed:
            print(f"the files of the runs are in {folder}")
        else:
            shutil.rmtree(folder)
    return int(failed)


def _site(folder: Path, name: str, pause: float) -> Site:
    (folder / name).mkdir()
    return Site(folder / name, pause=pause, fsync="everysec")


def _table(baseline: Undisturbed, outcomes: list[Outcome]) -> str:
    """Return a table of the injected faults and their results, with a column for each run."""
    kinds = sorted({kind for outcome in outcomes for kind in outcome.faults})
    lines = [["seed", *(str(outcome.seed) for outcome in outcomes), "all"]]
    counts = {kind: [outcome.faults[kind] for outcome in outcomes] for kind in kinds}
    for name in ("lost", "duplicated", "changed", "failed"):
        what = {
            "lost": "rows lost",
            "duplicated": "rows duplicated",
            "changed": "labels changed",
            "failed": "errors caused by faults",
        }
        counts[what[name]] = [getattr(outcome.difference, name) for outcome in outcomes]
    counts["other failures"] = [len(outcome.failures) for outcome in outcomes]
    lines += [[kind, *map(str, numbers), str(sum(numbers))] for kind, numbers in counts.items()]
    recoveries = [max(outcome.recoveries) for outcome in outcomes]
    lines.append(
        ["s from Redis' answer to a claim", *(f"{seconds:.1f}" for seconds in recoveries), f"≤ {max(recoveries):.1f}"]
    )
    times = [outcome.seconds for outcome in outcomes]
    lines.append(
        [f"s (undisturbed {baseline.seconds:.0f})", *(f"{seconds:.0f}" for seconds in times), f"{sum(times):.0f}"]
    )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rows = ((line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])) for line in lines)
    return "\n".join("  ".join(row) for row in rows)


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{'FAILED' if code else 'passed'}, in {time.monotonic() - started:.0f} s")
    sys.exit(code)
