"""Options that several commands share, and the values that some of them take."""

from collections.abc import Callable
from enum import StrEnum
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from pigeonhole.models.record import ONNX_RUNTIME, TORCH


class Device(StrEnum):
    """The device that computes."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Runtime(StrEnum):
    """The library that runs a network (`pigeonhole.models.runtimes.registry`)."""

    AUTO = "auto"
    ONNX_RUNTIME = ONNX_RUNTIME
    TORCH = TORCH


DataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Path of the data set, if --dataset names none: a folder with one folder of pictures for each class, a "
        "CSV file, or the folder of MNIST.  \\[default: data]",
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="Device that computes; auto takes a GPU that torch can use.")]
ReportOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Also write a report to this folder: report.html, and its plots as PNG files."),
]
CheckpointArgument = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A file, or digits for the shipped checkpoint.")
]


def takes(options: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command take the fields of a dataclass as options, and pass them to it as its first argument.

    Args:
        options: Dataclass whose fields are annotated as Typer's parameters are.
    """
    fields = signature(options).parameters

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**values: object) -> None:
            command(options(**{name: values.pop(name) for name in fields}), **values)

        parameters = [*fields.values(), *list(signature(command).parameters.values())[1:]]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        vars(run)["__signature__"] = Signature(parameters)
        return run

    return decorate
