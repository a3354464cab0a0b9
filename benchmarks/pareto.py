"""Accuracy against cost: trains each network by its default recipe with several seeds; `make pareto`.

It writes a table into docs/experiments.md and draws docs/pareto.svg. A training is what `pigeonhole train` does with no
more than a network and a seed. What each came to is a line of JSON in a folder, so a run that was interrupted goes on
with those that are there; what another recipe made is not counted, and stays.
"""

import argparse
import json
import statistics
import subprocess
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.machine import describe
from pigeonhole.models import checkpoint
from pigeonhole.models.networks.registry import NETWORKS
from scripts.document import replaced
from training.loop import resume
from training.recipes.defaults import RECIPES, plan

DOCS = Path(__file__).resolve().parent.parent / "docs"
LINES = "runs.jsonl"


@dataclass(frozen=True)
class Task:
    """One training.

    Args:
        network: its name.
        seed: of all that is drawn.
        epochs: None for the network's own recipe; another number is a trial.
    """

    network: str
    seed: int
    epochs: int | None = None

    def recipe(self) -> dict[str, Any]:
        """How it trains, as its checkpoint will say it."""
        recipe = plan(self.network).recipe
        plain = replace(recipe, epochs=self.epochs or recipe.epochs).to_json()
        return dict(json.loads(json.dumps(plain)))


@dataclass(frozen=True)
class Run:
    """What one training came to.

    Args:
        network, seed, recipe: which it was.
        data: the digest of the training images.
        multiply_adds, parameters: what an image costs the network.
        images, errors: MNIST's test images, and how many of them are wrong.
        seconds: of training, with making its pool of other images and without loading the data.
        machine, versions: on what.
    """

    network: str
    seed: int
    recipe: dict[str, Any]
    data: str
    multiply_adds: int
    parameters: int
    images: int
    errors: int
    seconds: float
    machine: str
    versions: dict[str, str]

    @property
    def accuracy(self) -> float:
        """The share of the test images that is right, 0…1."""
        return 1 - self.errors / self.images

    def is_of(self, task: Task) -> bool:
        """Whether it is what a task asks for, by today's recipe."""
        return (self.network, self.seed, self.recipe) == (task.network, task.seed, task.recipe())


def runs(folder: Path) -> list[Run]:
    """Read what a folder has; a last line that was not written to its end is left out.

    Raises:
        ValueError: there is a line that is not ours.
    """
    found = []
    path = folder / LINES
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Run(**json.loads(line)))
        except (TypeError, ValueError) as exc:
            raise ValueError(f"line {number} of {path} is no training of ours ({exc}): choose another --work") from exc
    return found


def keep(folder: Path, run: Run) -> None:
    """Add one, in the place of half a line that somebody left who was killed."""
    path = folder / LINES
    before = path.read_bytes() if path.exists() else b""
    with path.open("r+b" if before else "wb") as file:
        file.seek(before.rfind(b"\n") + 1)
        file.truncate()
        file.write(json.dumps(asdict(run)).encode() + b"\n")


def found(task: Task, there: Iterable[Run]) -> Run | None:
    """Give the latest of a task."""
    return next((run for run in reversed(list(there)) if run.is_of(task)), None)


def train(task: Task, data: Path, folder: Path) -> Run:
    """Train one network, or go on with that; the checkpoint stays in the folder.

    Raises:
        SystemExit: training failed, and has said why, or was interrupted.
    """
    # Named after the recipe too: what another one left there is nothing to go on from.
    recipe = zlib.crc32(json.dumps(task.recipe()).encode())
    path = folder / f"{task.network}-{task.seed}-{recipe:08x}.safetensors"
    command = [sys.executable, "-m", "training", "train", "--dataset", "mnist", "--data", str(data)]
    command += ["--network", task.network, "--seed", str(task.seed), "--output", str(path)]
    command += ["--resume"] if resume.file_of(path).exists() else []
    command += [] if task.epochs is None else ["--epochs", str(task.epochs)]
    if code := subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{task.network}, seed {task.seed}: training ended with {code}; run this again to go on")
    written = checkpoint.describe(path)
    test, trained = written.measured["test"], written.trained
    return Run(
        network=task.network,
        seed=task.seed,
        recipe=trained["recipe"],
        data=trained["data_digest"],
        multiply_adds=written.cost.multiply_adds,
        parameters=written.cost.parameters,
        images=test["images"],
        errors=test["errors"],
        seconds=trained["times"]["pool"] + trained["times"]["epochs"],
        machine=describe(trained["threads"]),
        versions=trained["versions"],
    )


def networks(measured: Sequence[Run]) -> list[list[Run]]:
    """Give the trainings of each network, the cheapest network first."""
    names = {run.network: run.multiply_adds for run in measured}
    return [[run for run in measured if run.network == name] for name in sorted(names, key=lambda name: names[name])]


def table(measured: Sequence[Run]) -> str:
    """Give the figures in Markdown."""
    lines = [
        "| network | multiply-adds | parameters | epochs | test, right: mean | least to most | deviation | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in networks(measured):
        right = [100 * run.accuracy for run in each]
        deviation = f"{statistics.stdev(right):.3f}" if len(right) > 1 else "–"
        lines.append(
            f"| `{each[0].network}` | {each[0].multiply_adds:,} | {each[0].parameters:,} | {each[0].recipe['epochs']} "
            f"| {statistics.mean(right):.3f}% | {min(right):.2f} to {max(right):.2f}% | {deviation} "
            f"| {statistics.median(run.seconds for run in each):,.0f} |"
        )
    return "\n".join(lines) + "\n"


def part(measured: Sequence[Run], trial: bool) -> str:
    """Give what stands in the document.

    Args:
        measured: all trainings that are asked for.
        trial: they were cut short.
    """
    seeds = sorted({run.seed for run in measured})
    machines = sorted({run.machine for run in measured})
    versions = sorted({", ".join(f"{name} {version}" for name, version in run.versions.items()) for run in measured})
    warning = "**A trial: the networks were not trained to their end.**\n\n" if trial else ""
    return f"""{warning}{table(measured)}
![accuracy against multiply-adds](pareto.svg)

`make pareto`: each network trained by its default recipe, once with each of the seeds {", ".join(map(str, seeds))}, on
{"; and on ".join(machines)}; {"; and with ".join(versions)}. `deviation` is the standard deviation over the seeds, in
points, `seconds` the median of a training, with making its pool of other images, without loading the data. MNIST's
10,000 test images were read once for each of them, at its end, and nothing was chosen by them.
"""


def plot(measured: Sequence[Run], file: Path) -> None:
    """Draw each network's mean, with the least and the most as whiskers, each seed as a small dot, and the front."""
    matplotlib.rcParams["svg.hashsalt"] = "pigeonhole"  # the same figures, the same file
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    front = list[tuple[int, float]]()  # those that no cheaper one is as good as
    for each in networks(measured):
        cost, right = each[0].multiply_adds, [100 * run.accuracy for run in each]
        mean = statistics.mean(right)
        if not front or mean > front[-1][1]:
            front.append((cost, mean))
        axes.plot([cost] * len(right), right, ".", color="black", markersize=3, zorder=3)
        axes.errorbar(cost, mean, [[mean - min(right)], [max(right) - mean]], fmt="o", color="C0", capsize=3)
        axes.annotate(each[0].network, (cost, mean), xytext=(8, -12), textcoords="offset points")
    axes.plot(*zip(*front, strict=True), "--", color="grey", linewidth=1, zorder=0)
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.1)
    axes.set_title("MNIST's test images: mean over the seeds, least and most")
    axes.set_xlabel("multiply-adds an image")
    axes.set_ylabel("right, %")
    axes.grid(alpha=0.3)
    figure.savefig(file, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and write the document and the plot."""
    parser = argparse.ArgumentParser(prog="make pareto", description=__doc__.partition(";")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds MNIST")
    parser.add_argument("--work", type=Path, required=True, help="the folder that keeps what was trained")
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=tuple(RECIPES), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="how many: 0, 1, …")
    parser.add_argument("--epochs", type=int, help="in place of the recipe's, for a trial")
    parser.add_argument(
        "--docs", type=Path, default=DOCS, help="the folder with experiments.md, for the table and the plot"
    )
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds says how many trainings a network gets, at least 1, not {options.seeds}")
    document = options.docs / "experiments.md"
    replaced(document.read_text(encoding="utf-8"), "pareto", "")  # told now, not after hours
    options.work.mkdir(parents=True, exist_ok=True)
    measured = []
    # One seed of each first: a run that is cut off has something of all.
    for task in [Task(name, seed, options.epochs) for seed in range(options.seeds) for name in options.networks]:
        run = found(task, runs(options.work))
        if run is None:
            run = train(task, options.data, options.work)
            keep(options.work, run)
        print(f"{run.network}, seed {run.seed}: {run.accuracy:.2%}, {run.seconds:.0f} s", flush=True)
        measured.append(run)
    if len({run.data for run in measured}) > 1:
        parser.error(f"not all that {options.work} keeps was trained on the same images: choose another --work")
    text = document.read_text(encoding="utf-8")
    document.write_text(replaced(text, "pareto", part(measured, options.epochs is not None)), encoding="utf-8")
    plot(measured, options.docs / "pareto.svg")


if __name__ == "__main__":
    main()
