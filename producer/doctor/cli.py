"""`pigeonhole doctor`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pigeonhole.errors import ExitCode
from producer.arguments.options import AsJson, Broker, Model
from producer.command import guarded, settings_from

app = typer.Typer()


@app.command(epilog="Example: pigeonhole doctor photos/")
@guarded
def doctor(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER",
            help="A folder whose images workers must see.  \\[default: the image root, or this folder if that is /]",
        ),
    ] = None,
    model: Model = None,
    broker: Broker = None,
    as_json: AsJson = False,
) -> None:
    """Check the set-up: Redis, workers, image root, clocks, free space; print what to do about each problem.

    It sends a small image through the queue and removes it again. Without a broker, it checks the Redis and the workers
    that `classify` starts.
    """
    from producer.doctor.examine import examine

    findings = []
    for finding in examine(settings_from(model, broker), folder):
        findings.append(finding)
        if not as_json:
            word, lines = finding.lines()
            colour = {True: typer.colors.GREEN, False: typer.colors.RED, None: typer.colors.YELLOW}[finding.ok]
            typer.echo(typer.style(word, fg=colour) + "\n".join(lines))  # coloured on a terminal only
    well = all(finding.ok is not False for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": well, "findings": [asdict(finding) for finding in findings]}))
    raise typer.Exit(ExitCode.OK if well else ExitCode.FAILED)
