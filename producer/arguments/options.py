"""Options and arguments that several commands share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer
from typer.models import OptionInfo

from pigeonhole.errors import SettingsError, UsageError
from pigeonhole.label_map import LabelMap
from pigeonhole.row_options import RowOptions
from pigeonhole.settings import Settings, masked
from pigeonhole.sinks.format import Format
from pigeonhole.sinks.registry import FORMATS
from producer.arguments.completion import complete_job, complete_model
from producer.arguments.max_errors import MaxErrors


class Links(StrEnum):
    """The kinds of links for `--sort-into`."""

    symbolic = "symbolic"
    hard = "hard"


@contextmanager
def _bad_parameter() -> Iterator[None]:
    """Translate UsageError into BadParameter, which names the option."""
    try:
        yield
    except UsageError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _checked_by_rows(name: str) -> Callable[[object], object]:
    """Return a callback that checks the value of an option as `RowOptions` does."""

    def check(value: object) -> object:
        with _bad_parameter():
            RowOptions(**{name: value})  # type: ignore[arg-type]  # Typer has parsed it
        return value

    return check


def _label_map(path: str) -> LabelMap:
    with _bad_parameter():
        return LabelMap.read(path)


def _max_errors(text: str) -> MaxErrors:
    with _bad_parameter():
        return MaxErrors.parse(text)


def _broker(url: str | None) -> str | None:
    if url is not None:
        _check_setting(masked(url), broker_url=url)
    return url


def _device(name: str | None) -> str | None:
    if name is not None:
        _check_setting(name, device=name)
    return name


def _check_setting(shown: str, **value: str) -> None:
    """Raise BadParameter, which names the option instead of the variable, if a setting can't have a value."""
    try:
        Settings(**value)  # type: ignore[arg-type]  # each is a text
    except SettingsError as exc:
        wanted = str(exc).rpartition("it must be ")[2]
        raise typer.BadParameter(f"{shown!r} can't be used: give {wanted}") from exc


def _format(name: str) -> Format:
    """Return the format with a name; raise BadParameter if there is none."""
    if name not in FORMATS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, FORMATS))}.")
    return FORMATS[name]


def format_option(help: str) -> OptionInfo:
    """Return the option `--format`, whose value is the name of a registered format."""
    option: OptionInfo = typer.Option(
        "--format", parser=_format, metavar="|".join(FORMATS), autocompletion=lambda: list(FORMATS), help=help
    )
    return option


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Images, folders, archives, globs; - reads a list from standard input, @FILE from a file.",
    ),
]
_JOB_HELP = "A job: its id, the beginning of its id, or `last` for the newest."
Job = Annotated[str, typer.Argument(metavar="JOB", autocompletion=complete_job, help=_JOB_HELP)]
OptionalJob = Annotated[
    str | None, typer.Argument(metavar="JOB", autocompletion=complete_job, help=f"{_JOB_HELP} Without it, all jobs.")
]
SeveralJobs = Annotated[
    list[str] | None,
    typer.Argument(metavar="JOB", autocompletion=complete_job, help="Jobs: ids, beginnings of ids, or `last`."),
]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="URL",
        callback=_broker,
        help="The workers' Redis, redis://HOST:PORT/NUMBER.  \\[default: PIGEONHOLE_BROKER_URL]",
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="N",
        min=1,
        help="Without a broker: worker processes.  \\[default: one for each core that may be used]",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        callback=_device,
        autocompletion=lambda: ["auto", "cpu", "cuda"],
        help="Without a broker: where the network runs; auto, cpu, cuda (every GPU), or cuda:0,cuda:1.  "
        "\\[default: auto]",
    ),
]
OutputFile = Annotated[
    str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the rows here, in the format of its ending.")
]
RowFormat = Annotated[Format | None, format_option("The format of the rows, whatever FILE ends with.")]
CsvSafe = Annotated[
    bool,
    typer.Option(
        "--csv-safe", help="For spreadsheets: in CSV, put ' in front of a text that begins with = + - @ or a tab."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace FILE whatever it is; start an interrupted run over.")
]
SortInto = Annotated[
    str | None,
    typer.Option(
        "--sort-into",
        metavar="DIR",
        help="Link each image into DIR/LABEL/ or DIR/_review/LABEL/; DIR/_errors.csv lists images without a label.",
    ),
]
Link = Annotated[
    Links | None, typer.Option("--link", help="With --sort-into: how images are linked.  \\[default: symbolic]")
]
Copy = Annotated[bool, typer.Option("--copy", help="With --sort-into: copy images instead of linking them.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        autocompletion=complete_model,
        help="The model to use: its name, or without a broker also a model file.  \\[default: digits]",
    ),
]
ReviewBelow = Annotated[
    float | None,
    typer.Option(
        "--review-below",
        metavar="P",
        callback=_checked_by_rows("review_below"),
        help="Mark images with a confidence below P, 0 to 1, for review.  \\[default: by the model's review score]",
    ),
]
_TOP_CHECK = _checked_by_rows("top")
_TOP_HELP = "Number of most probable classes in each row; CSV then has columns for them.  \\[default: 3]"
Top = Annotated[int | None, typer.Option("--top", metavar="K", callback=_TOP_CHECK, help=_TOP_HELP)]
TopOfJob = Annotated[
    int | None,
    typer.Option("--top", metavar="K", callback=_TOP_CHECK, help="Show the K most probable classes of each row."),
]
LabelMapFile = Annotated[
    LabelMap | None,
    typer.Option(
        "--label-map",
        metavar="FILE",
        parser=_label_map,
        help="Replace class names by other labels: a JSON object, or CSV with the columns class and label.",
    ),
]
UnknownLabel = Annotated[
    str | None,
    typer.Option(
        "--unknown-label",
        metavar="TEXT",
        callback=_checked_by_rows("unknown_label"),
        help="Label images TEXT that have none of the classes: marked for review, and `unknown` is 0.5 or more.",
    ),
]
MaximalErrors = Annotated[
    MaxErrors | None,
    typer.Option(
        "--max-errors",
        metavar="N|P%",
        parser=_max_errors,
        help="Stop with exit code 1 once more than N rows, or P percent of all images, are errors.",
    ),
]
NullSeparated = Annotated[bool, typer.Option("-0", "--null", help="Lists are separated by NUL, not by newlines.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
