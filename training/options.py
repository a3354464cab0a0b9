"""Options that several commands share, and what some of them can be."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Network(StrEnum):
    """The networks that can be asked for."""

    DIGITS = "digits"
    SMALL = "digits-small"
    LARGE = "digits-large"
    CLASSIC = "classic"
    RESIDUAL = "residual"
    RESIDUAL_SMALL = "residual-small"
    RESIDUAL_LARGE = "residual-large"


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


DataOption = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Path of the data set, if --dataset names none.  \\[default: data]")
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU that torch can use.")]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Also write a report to look at, report.html and its plots as PNG, to this folder."
    ),
]
CheckpointArgument = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A file, or digits: the one that is shipped.")
]
