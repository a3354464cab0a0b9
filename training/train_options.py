"""The options of `train`."""

from pathlib import Path
from typing import Annotated

import typer

from training.datasets.registry import KINDS
from training.options import Network

Output = Annotated[Path, typer.Option("-o", "--output", help="The checkpoint to write.")]
Dataset = Annotated[
    str | None,
    typer.Option(
        metavar=f"{'|'.join(KINDS)}[:PATH]",
        help="What to train on: mnist, folder:DIR with one folder of pictures for each class, or csv:FILE with the "
        "columns path and label.  \\[default: what --from was trained on, or mnist]",
    ),
]
NetworkName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"{', '.join(Network)}, or what torchvision calls one of its own: resnet18 and the like.  "
        "\\[default: digits for mnist, residual for a folder]",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        min=8,
        max=1024,
        help="The shorter side in pixels of what the network sees of a folder's pictures.  "
        "\\[default: fits them, up to 64]",
    ),
]
Name = Annotated[
    str, typer.Option(help="The checkpoint's name: its workers' queue is named after it.  \\[default: FILE's]")
]
Epochs = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="Passes over the data.  \\[default: the network's]")
]
BatchSize = Annotated[int | None, typer.Option(min=2, max=65_536, help="Images in a step.  \\[default: the network's]")]
Patience = Annotated[
    int | None,
    typer.Option(min=1, help="Stop after so many epochs without a better one.  \\[default: the network's]"),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same machine, same weights (on the CPU).")]
Validation = Annotated[
    float | None, typer.Option(help="Share of the training images kept for validation.  \\[default: 0.1]")
]
ValidationSeed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**32 - 1,
        help="Decides which ones: of checkpoints that shall teach another, the same.  \\[default: --seed]",
    ),
]
Variety = Annotated[
    bool | None,
    typer.Option(
        "--variety/--no-variety",
        help="Also train on pictures that are none of the classes, and on digits of other kinds.  "
        "\\[default: the network's]",
    ),
]
Fonts = Annotated[
    Path | None,
    typer.Option(help="A folder of fonts, for printed digits among them.  \\[default: /usr/share/fonts]"),
]
Teachers = Annotated[
    list[str] | None,
    typer.Option(metavar="CHECKPOINT", help="Learn also from what this checkpoint says; may be given repeatedly."),
]
ReviewBudget = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, help="The share of images that may be marked for review.  \\[default: 0.01]"),
]
Flip = Annotated[
    bool | None,
    typer.Option(
        "--flip/--no-flip",
        help="Whether training mirrors half of the images, left to right.  "
        "\\[default: a folder's, unless left and right differ in them]",
    ),
]
Pretrained = Annotated[
    bool, typer.Option("--pretrained", help="Begin with torchvision's weights, for one of its networks.")
]
Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="CHECKPOINT",
        help="Begin with the weights of this checkpoint: its network, its preprocessing; the classes may be others.",
    ),
]
Corrections = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv",
        help="With --from: a person's labels, of columns path and label, for pictures of its data set or more of them.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where the same command was interrupted, with the same result.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only the result, and errors.")]
