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


NetworkOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"{', '.join(Network)}, or what torchvision calls one of its own: resnet18 and the like.  "
        "\\[default: digits for mnist, residual for a folder]",
    ),
]


class Labelled(StrEnum):
    """What can be evaluated on."""

    MNIST = "mnist"
    FOLDER = "folder"
    OUTLIERS = "outliers"


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


DatasetOption = Annotated[
    str,
    typer.Option(
        metavar="mnist|folder:DIR",
        help="What to train on: MNIST, or a folder that holds one folder of pictures for each class, named as it.",
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        min=8,
        max=1024,
        help="The shorter side in pixels of what the network sees of a folder's pictures.  "
        "\\[default: fits them, up to 64]",
    ),
]
FlipOption = Annotated[
    bool | None,
    typer.Option(
        "--flip/--no-flip",
        help="Whether training mirrors half of the images, left to right.  "
        "\\[default: a folder's in colour, not in grey, where there may be writing]",
    ),
]
PretrainedOption = Annotated[
    bool, typer.Option("--pretrained", help="Begin with torchvision's weights, for one of its networks.")
]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="CHECKPOINT",
        help="Begin with the weights of this checkpoint: its network, its preprocessing; the classes may be others.",
    ),
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
