"""Measure accuracy against cost: train each network with its default recipe and several seeds; `make pareto`.

It writes a table to docs/experiments.md and draws docs/pareto.svg. Each training is `pigeonhole train` with a network
and a seed only. Its result is a line of JSON in a folder, so that an interrupted run resumes. Results of other recipes
in that folder are ignored.
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

from benchmarks.common.machine import describe
from pigeonhole.models import checkpoint
from pigeonhole.models.networks.registry import NETWORKS
from scripts.document import replaced
from training.loop import resume
from training.recipes.defaults import RECIPES, plan

DOCS = Path(__file__).resolve().parents[2] / "docs"
LINES = "runs.jsonl"


@dataclass(frozen=True)
class Task:
    """One training to do.

    Args:
        network: the network's name.
        seed: the seed of the training.
        epochs: the number of epochs, for a trial; None: that of the network's recipe.
    """

    network: str
    seed: int
    epochs: int | None = None

    def recipe(self) -> dict[str, Any]:
        """Return the recipe as the checkpoint will record it."""
        recipe = plan(self.network).recipe
        plain = replace(recipe, epochs=self.epochs or recipe.epochs).to_json()
        return dict(json.loads(json.dumps(plain)))


@dataclass(frozen=True)
class Run:
    """The result of one training.

    Args:
        network: the network's name.
        seed: the seed of the training.
        recipe: the recipe of the training.
        data: the digest of the training images.
        multiply_adds: the network's multiply-adds per image.
        parameters: the number of the network's parameters.
        images: the number of MNIST's test images.
        errors: the number of wrong labels among them.
        seconds: the time of the training, including the synthetic data, without loading MNIST.
        machine: the machine, in words.
        versions: package → version.
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
        """The share of test images with the right label, 0…1."""
        return 1 - self.errors / self.images

    def is_of(self, task: Task) -> bool:
        """Return whether this is the result of a task, with the current recipe."""
        return (self.network, self.seed, self.recipe) == (task.network, task.seed, task.recipe())


def runs(folder: Path) -> list[Run]:
    """Read the results in a folder; ignore an incomplete last line.

    Raises:
        ValueError: a line is not a result of this program.
    """
    found = []
    path = folder / LINES
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Run(**json.loads(line)))
        except (TypeError, ValueError) as exc:
            raise ValueError(
                f"line {number} of {path} is not a result of a training ({exc}): use another --work"
            ) from exc
    return found


def keep(folder: Path, run: Run) -> None:
    """Append a result; replace an incomplete last line, which a killed run may have left."""
    path = folder / LINES
    before = path.read_bytes() if path.exists() else b""
    with path.open("r+b" if before else "wb") as file:
        file.seek(before.rfind(b"\n") + 1)
        file.truncate()
        file.write(json.dumps(asdict(run)).encode() + b"\n")


def found(task: Task, there: Iterable[Run]) -> Run | None:
    """Return the latest result of a task; None if there is none."""
    return next((run for run in reversed(list(there)) if run.is_of(task)), None)


def train(task: Task, data: Path, folder: Path) -> Run:
    """Train one network, or resume its training; the checkpoint stays in the folder.

    Raises:
        SystemExit: the training failed with a message, or was interrupted.
    """
    # The name includes the recipe, because the training of another recipe can't be resumed.
    recipe = zlib.crc32(json.dumps(task.recipe()).encode())
    path = folder / f"{task.network}-{task.seed}-{recipe:08x}.safetensors"
    command = [sys.executable, "-m", "training", "train", "--dataset", "mnist", "--data", str(data)]
    command += ["--network", task.network, "--seed", str(task.seed), "--output", str(path)]
    command += ["--resume"] if resume.file_of(path).exists() else []
    command += [] if task.epochs is None else ["--epochs", str(task.epochs)]
    if code := subprocess.run(command, check=False).returncode:
        raise SystemExit(
            f"{task.network}, seed {task.seed}: training ended with exit code {code}; to resume, run again"
        )
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
    """Return the results grouped by network, the cheapest network first."""
    names = {run.network: run.multiply_adds for run in measured}
    return [[run for run in measured if run.network == name] for name in sorted(names, key=lambda name: names[name])]


def table(measured: Sequence[Run]) -> str:
    """Return the figures as a table in Markdown."""
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
    """Return the part of the document.

    Args:
        measured: the results of all tasks.
        trial: whether the trainings were shortened.
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
    """Draw each network's mean with whiskers from least to most, each seed as a dot, and the Pareto front."""
    matplotlib.rcParams["svg.hashsalt"] = "pigeonhole"  # so that the same figures result in the same file
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    front = list[tuple[int, float]]()  # networks that are better than every cheaper one
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
    """Do the missing trainings, and write the table and the plot."""
    parser = argparse.ArgumentParser(prog="make pareto", description=__doc__.partition(";")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that contains MNIST")
    parser.add_argument("--work", type=Path, required=True, help="the folder for results and checkpoints")
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=tuple(RECIPES), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="the number of seeds: 0, 1, …")
    parser.add_argument("--epochs", type=int, help="the number of epochs, for a trial")
    parser.add_argument(
        "--docs", type=Path, default=DOCS, help="the folder with experiments.md, for the table and the plot"
    )
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds is the number of trainings of each network, at least 1, not {options.seeds}")
    document = options.docs / "experiments.md"
    replaced(document.read_text(encoding="utf-8"), "pareto", "")  # fails now, not after hours of training
    options.work.mkdir(parents=True, exist_ok=True)
    measured = []
    # One seed of each network first, so that an interrupted run has results of all networks.
    for task in [Task(name, seed, options.epochs) for seed in range(options.seeds) for name in options.networks]:
        run = found(task, runs(options.work))
        if run is None:
            run = train(task, options.data, options.work)
            keep(options.work, run)
        print(f"{run.network}, seed {run.seed}: {run.accuracy:.2%}, {run.seconds:.0f} s", flush=True)
        measured.append(run)
    if len({run.data for run in measured}) > 1:
        parser.error(f"the results in {options.work} are of different training images: choose another --work")
    text = document.read_text(encoding="utf-8")
    document.write_text(replaced(text, "pareto", part(measured, options.epochs is not None)), encoding="utf-8")
    plot(measured, options.docs / "pareto.svg")


if __name__ == "__main__":
    main()
