"""The commands `pigeonhole import`, `export` and `inspect`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pigeonhole.errors import UsageError
from pigeonhole.version import install_hint
from producer.arguments.options import AsJson
from producer.command import guarded, notify, settings_from

if TYPE_CHECKING:
    from pigeonhole.models.checkpoint import Checkpoint

app = typer.Typer()

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that is written, whatever it is.")]


@app.command("import", epilog="Example: pigeonhole import model.onnx --classes imagenet -o model.safetensors")
@guarded
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="An ONNX file; a file that torch.save(model.state_dict(), FILE) wrote; torchvision:NAME; timm:NAME or "
            "timm:FOLDER; hf:ORG/NAME or hf:FOLDER, of Hugging Face.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model file to write.")],
    name: Annotated[
        str, typer.Option(help="The model's name, after which its queue is named.  \\[default: the name of -o]")
    ] = "",
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|imagenet", help="Names of the classes, in the order of the outputs: a name a line, or JSON."
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(metavar="FILE|imagenet", help="How images are prepared: JSON (docs/guide/models.md) or imagenet."),
    ] = None,
    mean: Annotated[
        float | None, typer.Option(help="For a state_dict: the mean of pixels (0 to 1), subtracted in training.")
    ] = None,
    std: Annotated[
        float | None, typer.Option(help="For a state_dict: the standard deviation, the divisor in training.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="For a state_dict: its network, such as resnet18.  \\[default: recognised by its weights]"),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="For torchvision:NAME and timm:NAME: a file of weights, instead of a download.")
    ] = None,
    multi_label: Annotated[
        bool,
        typer.Option("--multi-label", help="An image may have several labels; each class has a sigmoid."),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(help="For a multi-label model: the probability from which a class is a label.  \\[default: 0.5]"),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For a multi-label model: a JSON object with a threshold for each class."),
    ] = None,
    sample: Annotated[Path | None, typer.Option(help="An image, whose five most probable classes are printed.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Import a model that was trained elsewhere into a model file; code in its files is never run."""
    with _needed():
        from pigeonhole.models.output_names import check_output, model_name
        from producer.models.importing import run
        from producer.models.importing import sample as samples
        from producer.models.importing.kind import ImportOptions

        several = (multi_label or None, threshold, thresholds)
        options = ImportOptions(classes, preprocess, mean, std, network, weights, *several)
        check_output(output)
        made = run.import_model(source, output, model_name(name, output), options, overwrite)
        line = samples.line(output, sample, settings_from())
    for finding in filter(None, (*made.findings, line)):
        notify(finding)
    about = made.checkpoint
    several_labels = about.calibration.thresholds is not None  # `evaluate` takes one label an image
    example = f"classify DIR --model {output}" if several_labels else f"evaluate {output} --data DIR"
    notify(f"The model is not calibrated: no image will be marked for review. Try it: pigeonhole {example}")
    typer.echo(f"{output}: {about.name} {about.digest[:12]}, {about.network}, {len(about.classes)} classes")


@app.command(
    epilog="Example: pigeonhole export digits -o digits.onnx   "
    "or, in int8: pigeonhole export digits --int8 --images DIR -o digits-int8.safetensors"
)
@guarded
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model file, or the name of a shipped model.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="The ONNX file to write; with --int8, a model file unless it ends in .onnx."
        ),
    ],
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise the model: faster on a CPU, slightly less accurate.")
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="With --int8: a folder of images like the training images; at most 1,000 are read.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="With --int8: the new model's name.  \\[default: MODEL's name with -int8]")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as an ONNX file, with classes, preprocessing and calibration in its metadata.

    With --int8 it writes a model file whose weights and activations are in int8, for ONNX Runtime on a CPU.
    """
    with _needed():
        from pigeonhole.models import checkpoint as checkpoints

        path = checkpoints.find(model)
        if int8:
            about = _export_int8(path, images, output, name, overwrite)
        elif images is not None or name is not None:
            raise UsageError(
                f"--{'name' if images is None else 'images'} is for --int8; give --int8 too, or leave it out."
            )
        else:
            from pigeonhole.models.output_names import check_output
            from producer.models import exporting

            check_output(output, ".onnx")
            about = exporting.export(path, output, overwrite)
    typer.echo(f"{output}: {about.name} {about.digest[:12]}, {len(about.classes)} classes")


def _export_int8(model: Path, images: str | None, output: Path, name: str | None, overwrite: bool) -> "Checkpoint":
    from producer.models import quantising

    if images is None:
        raise UsageError(
            "--int8 needs --images SOURCE, a folder of images like the training images, to measure the ranges of "
            "activations."
        )
    made = quantising.export(model, images, output, name, settings_from(), overwrite)
    for finding in made.findings:
        notify(finding)
    return made.checkpoint


@app.command(epilog="Example: pigeonhole inspect digits --image photo.jpg")
@guarded
def inspect(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A model file, or the name of a shipped model.")
    ],
    image: Annotated[Path | None, typer.Option(help="An image, whose preprocessing and result are shown.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file for the network's input.  \\[default: IMAGE-seen.png]"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Show a checkpoint: network, classes, preprocessing, training, measured accuracy, digest.

    With --image, show the preprocessing and the result of one image, and write the network's input as PNG.
    """
    from pigeonhole.models import checkpoint as checkpoints
    from pigeonhole.models import description

    path = checkpoints.find(checkpoint)
    if image is not None:
        _inspect_image(path, image, output, overwrite, as_json)
        return
    if output is not None:
        raise UsageError("-o is for the file that --image writes; give --image FILE too, or drop -o.")
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


#: Package → the extra that installs it. The extra `worker` installs all other packages.
_EXTRAS = {"onnx": "onnx", "google": "onnx", "torch": "training", "torchvision": "training"}


@contextmanager
def _needed() -> Iterator[None]:
    """Raise UsageError with the install command if a package is missing."""
    try:
        yield
    except ModuleNotFoundError as exc:
        extra = _EXTRAS.get((exc.name or "").partition(".")[0], "worker")
        raise UsageError(f"{exc.name} is not installed; run: {install_hint(extra)}") from exc
