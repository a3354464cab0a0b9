"""`pigeonhole import`: reads a model of any kind, and writes it as a model file."""

from dataclasses import dataclass
from pathlib import Path

from pigeonhole import provenance
from pigeonhole.errors import CheckpointError
from pigeonhole.filesystem.replacing import check_own
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from pigeonhole.models.conversion import trial
from pigeonhole.version import VERSION
from producer.models.importing import registry, thresholds
from producer.models.importing.kind import ImportOptions

_TRIED = 16  # number of images that a model must classify before it is written


@dataclass(frozen=True)
class Written:
    """An imported model file.

    Args:
        checkpoint: The model's record.
        findings: Notes for the user, as in `Imported`.
    """

    checkpoint: Checkpoint
    findings: tuple[str, ...]


def import_model(source: str, output: Path, name: str, options: ImportOptions, overwrite: bool = False) -> Written:
    """Import a model.

    Args:
        source: The SOURCE: a file, or a scheme and a name.
        output: The model file to write.
        name: The model's name.
        options: The options of the import.
        overwrite: Replace the output even if it is not an earlier import of this source.

    Returns:
        The written model. It is not calibrated: temperature 1, no image is marked for review.

    Raises:
        TrainingError: The source can't be read or is not an image classifier, or the output can't be written.
        UsageError: The output exists and is not an earlier import, or an option is missing or wrong.
    """
    checkpoint.check_name(name)
    label = _label(source)
    check_own(output, lambda file: _is_import(file, label), overwrite)
    kind, rest = registry.find(source)
    kind.check(options)
    thresholds.check(options)
    found = kind.read(rest, options)
    multi_label = thresholds.chosen(options, found.classes, found.multi_label or bool(options.multi_label))
    findings = (*found.findings, *_labels(multi_label))
    record = Checkpoint(
        name,
        found.network,
        found.arguments,
        found.classes,
        found.preprocessing,
        Calibration(thresholds=multi_label),
        found.cost,
        trained={"imported": label, "versions": {"pigeonhole": VERSION}, "finished": provenance.now(), **found.origin},
    )
    # Few images, because the network may be large.
    images = trial.images(found.preprocessing.shape, _TRIED)
    if isinstance(found.content, bytes):
        return Written(checkpoint.save_graph(output, found.content, record, images), findings)
    return Written(checkpoint.save(output, found.content, record, images), findings)


def _labels(multi_label: tuple[float, ...] | None) -> tuple[str, ...]:
    """Return a note about the thresholds of a multi-label model."""
    if multi_label is None:
        return ()
    least, most = min(multi_label), max(multi_label)
    value = f"{least:g}" if least == most else f"from {least:g} to {most:g}"
    return (f"multi-label: a class is a label if its probability reaches its threshold, {value}",)


def _label(source: str) -> str:
    """Return the text about a SOURCE for the record, without the paths of this machine."""
    scheme, colon, rest = source.partition(":")
    if colon and not Path(source).exists():
        return f"{scheme}:{Path(rest).resolve().name if Path(rest).is_dir() else rest}"
    return Path(source).name


def _is_import(file: Path, label: str) -> bool:
    """Return whether a file is a model file that was imported from a source of that label."""
    try:
        return checkpoint.describe(file).trained.get("imported") == label
    except CheckpointError:
        return False
