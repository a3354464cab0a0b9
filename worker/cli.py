"""The command `pigeonhole worker`. Only this module and `worker.app` print or exit."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from pigeonhole.version import install_hint

app = typer.Typer()


class LogLevel(StrEnum):
    """Log levels of Celery."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """Values of the setting `log_format`."""

    TEXT = "text"
    JSON = "json"


@app.command(epilog="Example: pigeonhole worker --broker redis://localhost:6379/0 --processes 4")
def worker(
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Worker processes.  \\[default: one for each core that may be used]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A model file, or the name of the shipped one.  \\[default: digits]"),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Redis, redis://HOST:PORT/NUMBER.  \\[default: PIGEONHOLE_BROKER_URL]"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="auto, cpu, cuda (every GPU), or cuda:0,cuda:1.  \\[default: auto]"),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(metavar="RUNTIME", help="Runtime: auto, onnxruntime or torch.  \\[default: auto]"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="PRECISION", help="Precision: auto, f32, bf16 or f16.  \\[default: auto]"),
    ] = None,
    name: Annotated[str, typer.Option(help="Celery's name of this worker; %h is the host's.")] = "celery@%h",
    log_format: Annotated[
        LogFormat | None, typer.Option(help="Format of the log; json is one object a line.  \\[default: text]")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="The lowest level that is logged.")] = LogLevel.INFO,
) -> None:
    """Start workers for one model; Ctrl-C or SIGTERM stops them after their current batches.

    This is a Celery worker, but it ignores Celery's environment variables.
    """
    options = {"PROCESSES": processes, "MODEL": model, "LOG_FORMAT": log_format, "BROKER_URL": broker}
    options |= {"DEVICE": device, "RUNTIME": runtime, "PRECISION": precision}
    # The worker's processes are fresh interpreters: they read the settings from the environment again.
    for variable, value in options.items():
        if value is not None:
            os.environ[f"PIGEONHOLE_{variable}"] = str(value)
    try:
        from worker.start import run
    except ImportError as exc:
        typer.echo(f"pigeonhole worker: {exc.name or exc} is not installed: {install_hint('worker')}", err=True)
        raise typer.Exit(2) from exc
    raise typer.Exit(run(name, log_level.value))
