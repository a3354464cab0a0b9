"""The command `pigeonhole report`."""

from itertools import chain
from typing import Annotated

import typer

from pigeonhole.sinks.format import Format
from producer.arguments.completion import complete_job_or_file
from producer.arguments.options import Broker, CsvSafe, Quiet, format_option
from producer.command import broker_settings, client_for, guarded, notify, notify_unless_quiet, settings_from

app = typer.Typer()

RowsFormat = Annotated[Format | None, format_option("The format of the rows in FILE, whatever its name ends with.")]
Truth = Annotated[
    str | None,
    typer.Option(
        "--truth",
        metavar="FILE|folders",
        help="True labels: a CSV file with the columns path and label, or each image's folder.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace FILE even if it is no report.")]


@app.command(epilog="Example: pigeonhole report results.csv -o report.html")
@guarded
def report(
    what: Annotated[
        str,
        typer.Argument(
            metavar="JOB|FILE",
            autocompletion=complete_job_or_file,
            help="A job (its id, the beginning of its id, or `last`), or a file of rows that -o wrote.",
        ),
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The page, an .html file.")
    ] = "report.html",
    thumbnails: Annotated[
        int,
        typer.Option("--thumbnails", min=0, metavar="N", help="Embed N thumbnails, doubtful first; link the rest."),
    ] = 1000,
    images: Annotated[
        str, typer.Option("--images", metavar="FOLDER", help="Where the rows' relative paths begin.")
    ] = ".",
    format: RowsFormat = None,
    truth: Truth = None,
    job: Annotated[str | None, typer.Option("--job", metavar="JOB", help="The job to show from a database.")] = None,
    csv_safe: CsvSafe = False,
    overwrite: Overwrite = False,
    broker: Broker = None,
    quiet: Quiet = False,
) -> None:
    """Write a page to review rows and correct labels: one HTML file that needs no network."""
    from producer.report import make

    make.check(output, images, overwrite)
    settings = settings_from()
    small = make.thumbnails_below(images, settings)
    if small is None:
        notify(make.NO_PILLOW)
    if make.names_file(what):
        origin = make.of_file(what, job, format)
    else:
        client = client_for(broker_settings(broker=broker), quiet)
        named = client.job_id(what)
        origin = make.of_job(client.status(named), chain.from_iterable(client.results(named)))
    written = make.make(output, origin, images, make.options_of(images, small, thumbnails, csv_safe, truth))
    notify_unless_quiet(make.written_text(output, written), quiet)
    if advice := make.hint(images, written):
        notify(advice)
