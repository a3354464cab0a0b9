"""`pigeonhole import` and `pigeonhole inspect`: commands on checkpoints."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pigeonhole.errors import UsageError
from pigeonhole.version import install_hint
from producer.command import guarded, say, settings_from
from producer.options import AsJson

app = typer.Typer()

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that is written, whatever it is.")]


@app.command("import", epilog="Example: pigeonhole import mnist_cnn.pt -o classic.safetensors")
@guarded
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What torch.save(model.state_dict(), FILE) wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint to write.")],
    name: Annotated[
        str, typer.Option(help="The checkpoint's name: its workers' queue is named after it.  \\[default: FILE's]")
    ] = "",
    mean: Annotated[float, typer.Option(help="Subtracted from pixels of 0 to 1 when it was trained.")] = 0.0,
    std: Annotated[float, typer.Option(help="What they were divided by then.")] = 1.0,
    overwrite: Overwrite = False,
) -> None:
    """Make a checkpoint from a raw state_dict of the network classic; no code in the file is run."""
    with _needed():
        from producer.models.import_weights import import_weights

        made = import_weights(file, output, name or output.stem, mean, std, overwrite)
    say(f"It is not calibrated: no image will be marked for review. Try it: pigeonhole evaluate {output} --data DIR")
    typer.echo(f"{output}: {made.name} {made.digest[:12]}, {made.network}, {len(made.classes)} classes")


@app.command(epilog="Example: pigeonhole inspect digits   or, what it makes of a picture: --image photo.jpg")
@guarded
def inspect(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A file, or digits: the one that is shipped.")
    ],
    image: Annotated[
        Path | None, typer.Option(help="A picture: say what is done with it, and what the network answers.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where to write what the network saw.  \\[default: IMAGE's name-seen.png]"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Show what a checkpoint is: network, classes, preprocessing, training, measured accuracy, digest.

    With --image it shows what the checkpoint makes of one picture, and writes the picture that the network saw as PNG.
    """
    from pigeonhole.models import checkpoint as checkpoints
    from pigeonhole.models import description

    path = checkpoints.find(checkpoint)
    if image is not None:
        _inspect_image(path, image, output, overwrite, as_json)
        return
    if output is not None:
        raise UsageError("-o is for the picture that --image writes; give --image FILE, or leave -o out.")
    described = checkpoints.describe(path)
    if as_json:
        content = {**json.loads(described.to_json()), "path": str(path), "bytes": path.stat().st_size}
        typer.echo(json.dumps(content, ensure_ascii=False, sort_keys=True))
    else:
        typer.echo(description.text(described, path))


def _inspect_image(path: Path, image: Path, output: Path | None, overwrite: bool, as_json: bool) -> None:
    with _needed():
        from producer.models import inspection

        inspected = inspection.inspect(path, image, settings_from())
    written = inspection.save(inspected, output, overwrite)
    if as_json:
        typer.echo(json.dumps({**inspected.to_json(), "seen": str(written)}, ensure_ascii=False, sort_keys=True))
    else:
        typer.echo(inspection.text(inspected, written))


@contextmanager
def _needed() -> Iterator[None]:
    """Translate a missing package into words: a runtime, numpy and Pillow are a worker's."""
    try:
        yield
    except ModuleNotFoundError as exc:
        raise UsageError(f"{exc.name} is not installed; run: {install_hint('worker')}") from exc
