"""The commands `train` and `evaluate`; no other module of this package prints or exits.

Heavy libraries are imported when a command runs: the program must start at once, also without torch and Pillow.
"""

import json
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from pigeonhole.errors import ExitCode, PigeonholeError, TrainingError
from pigeonhole.settings import Settings
from pigeonhole.text import counted
from pigeonhole.version import install_hint
from training.configuration import Configuration
from training.datasets import registry
from training.options import CheckpointArgument, DataOption, Device, DeviceOption, ReportOption, Runtime, takes

if TYPE_CHECKING:
    from training.datasets.data_set import DataSet
    from training.evaluation.measure import Evaluated
    from training.loop.train import Trained

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@app.command(epilog="Example: pigeonhole train --dataset folder:my-photos -o mine.safetensors")
@takes(Configuration)
def train(
    config: Configuration,
    report: ReportOption = None,
    show_recipe: Annotated[
        bool,
        typer.Option("--show-recipe", help="Print the recipe as JSON, for --recipe and --set, and do not train."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the result, and errors.")] = False,
) -> None:
    """Train a network and write one model file with everything in it.

    Each epoch is measured on the validation split. The checkpoint has the weights of the last epoch; if --patience or
    Ctrl-C ends training early, those of the best.

    FILE.log.jsonl records the training. Until it is finished, FILE.resume holds the state for --resume.
    """
    with _mapped_errors():
        from training.loop import train as task
        from training.progress import TrainingProgress

        if show_recipe:
            print(json.dumps(task.recipe(config), indent=2))
            return
        _prepare_report(report, config.overwrite)
        task.check(config)
        if not quiet:
            _notify(
                f"Training {config.initial_weights or config.architecture} on {_source(config)}, seed {config.seed}."
            )
        with TrainingProgress(_stderr(), quiet) as progress:
            trained = task.train(config, progress)
        _report_trained(trained, config.output)
        _write_report(report, trained.evaluated)
        if not quiet:
            _notify_next(config.output)
    if trained.outcome.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)


@app.command(
    epilog="Example: pigeonhole evaluate digits --data photos   or two, on the same images: evaluate A B --data photos"
)
def evaluate(
    checkpoint: CheckpointArgument,
    other: Annotated[
        str | None,
        typer.Argument(metavar="OTHER", help="A second checkpoint: compare the two, A and B, on the same images."),
    ] = None,
    data: DataOption = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar=f"{'|'.join(registry.KINDS)}|outliers[:PATH]",
            help="Data set to evaluate on; outliers is a folder of one folder for each kind of out-of-distribution "
            "images.  \\[default: the data set at --data, or the one that the checkpoint was trained on]",
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    runtime: Annotated[
        Runtime, typer.Option(help="Library that runs the network; auto chooses as a worker does.")
    ] = Runtime.AUTO,
    report: ReportOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --report: replace files in DIR even if no report wrote them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Measure a checkpoint: accuracy, confusion matrix, calibration, reviews, the worst mistakes.

    With OTHER, show which of the two is better by McNemar's exact test, if the images suffice, and where they disagree.

    With --dataset outliers, count the images of each kind that are caught: marked for review, or blank.
    """
    with _mapped_errors():
        from pigeonhole.models import checkpoint as checkpoints
        from training.evaluation import evaluate as task
        from training.report import text

        settings = replace(Settings.from_environment(), device=device.value, runtime=runtime.value)
        path = checkpoints.find(checkpoint)
        data_set, outliers = task.find(dataset, data, checkpoints.describe(path))
        if other is not None:
            if outliers:
                raise TrainingError("--dataset outliers takes one checkpoint, not two; leave the second one out.")
            if report:
                from training.report import markup

                markup.make_folder(report, overwrite)
            _compare((path, checkpoints.find(other)), data_set, settings, report, as_json)
            return
        if outliers:
            if report:
                raise TrainingError("--dataset outliers prints a table and has no report; leave --report out.")
            caught = task.evaluate_outliers(path, data_set, settings)
            failed, values, printed = caught.failed, caught.to_json(), text.kinds(caught.kinds)
        else:
            _prepare_report(report, overwrite)
            evaluated = task.evaluate(path, data_set, settings)
            _write_report(report, evaluated)
            failed, values, printed = evaluated.failed, evaluated.to_json(), text.text(evaluated)
        _notify_left_out(failed)
        print(json.dumps(values, ensure_ascii=False) if as_json else printed)


def _source(config: Configuration) -> str:
    """Return the data set in words: "mnist from data", "folder:photos"."""
    name = registry.name_of(config.dataset, config.data)
    if config.initial_weights and not config.dataset and not config.data:
        return "the data set that it was trained on"
    name = name or registry.DEFAULT
    registry.find(name, config.data)  # a path that does not exist is reported before anything else
    if name not in registry.KINDS:
        return name
    path = config.data or registry.FOLDER
    return f"{name} from {path}" if name == registry.DEFAULT else f"{name}:{path}"


def _compare(
    paths: tuple[Path, Path], data_set: "DataSet", settings: Settings, report: Path | None, as_json: bool
) -> None:
    from training.evaluation import evaluate as task
    from training.report import comparison, text

    compared = task.compare(paths, data_set, settings)
    if report:
        _notify(f"report: {comparison.write(report, compared)}")
    _notify_left_out((name, error if len(by) > 1 else f"{error} ({by})") for name, error, by in compared.failed)
    print(json.dumps(compared.to_json(), ensure_ascii=False) if as_json else text.comparison(compared))


def _notify_left_out(failed: Iterable[tuple[str, str]]) -> None:
    for name, error in failed:
        _notify(f"left out: {name}: {error}")


def _prepare_report(folder: Path | None, overwrite: bool) -> None:
    """Make the report's folder; fail before the work begins if the folder or a library can't be used."""
    if folder:
        from training.report import markup, page  # noqa: F401 - fails now if matplotlib is missing

        markup.make_folder(folder, overwrite)


def _write_report(folder: Path | None, evaluated: "Evaluated") -> None:
    if folder:
        from training.report import page

        _notify(f"report: {page.write(folder, evaluated)}")


def _report_trained(trained: "Trained", output: Path) -> None:
    from training.progress import duration
    from training.report import text

    made, outcome = trained.checkpoint, trained.outcome
    epochs = counted(len(outcome.epochs), "epoch")
    if outcome.interrupted:
        _notify(
            f"Interrupted after {epochs}; the best so far, epoch {outcome.kept.number}, is kept. "
            "To resume, run the same command with --resume."
        )
    if "onnx" in made.trained:
        _notify(f"This model runs in torch only, since there is no ONNX graph: {made.trained['onnx']}")
    took, kept = duration(outcome.seconds), outcome.kept.number
    print(
        f"Wrote {output}: {made.identity()}, {epochs} in {took}, epoch {kept} kept.\n"
        f"{text.quality('Test' if 'test' in made.measured else 'Validation', trained.evaluated.report)}"
    )


def _notify_next(output: Path) -> None:
    file = shlex.quote(str(output))
    _notify(
        f"Next: pigeonhole classify photos/ --model {file} -o results.csv\n"
        f"      pigeonhole evaluate {file} --data DIR   (with labelled images that it was not trained on)"
    )


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Turn an error that the user can mend into a message and an exit code; a bug keeps its traceback."""
    try:
        yield
    except PigeonholeError as exc:
        _fail(str(exc), ExitCode.USAGE, exc)
    except ModuleNotFoundError as exc:
        extra = _EXTRAS.get((exc.name or "").partition(".")[0])
        if extra is None:
            raise
        _fail(f"{exc.name} is not installed; run: {install_hint(extra)}", ExitCode.USAGE, exc)
    except KeyboardInterrupt as exc:
        _fail("Interrupted before it had finished.", ExitCode.INTERRUPTED, exc)


# Library that may be missing → the extra that installs it.
_EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "onnx", "onnxruntime", "numpy", "PIL", "safetensors"), "training"),
    "matplotlib": "training-report",
}


def _fail(message: str, code: ExitCode, cause: BaseException) -> NoReturn:
    _notify(f"pigeonhole: {message}")
    raise typer.Exit(code) from cause


def _notify(text: str) -> None:
    """Write lines to standard error."""
    _stderr().print(text, highlight=False, markup=False, soft_wrap=True)


def _stderr() -> Console:
    return Console(stderr=True)
