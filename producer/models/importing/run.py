"""`pigeonhole import`: read a model of any kind, and write it as a model file."""

from dataclasses import dataclass
from pathlib import Path

from pigeonhole import provenance
from pigeonhole.errors import CheckpointError
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from pigeonhole.models.conversion import trial
from pigeonhole.replacing import check_own
from pigeonhole.version import VERSION
from producer.models.importing import registry, thresholds
from producer.models.importing.kind import ImportOptions

_TRIED = 16  # images, that a model must compute before it is written


@dataclass(frozen=True)
class Written:
    """A model file that was imported.

    Args:
        checkpoint: Its record.
        findings: As of `Imported`.
    """

    checkpoint: Checkpoint
    findings: tuple[str, ...]


def import_model(source: str, output: Path, name: str, options: ImportOptions, overwrite: bool = False) -> Written:
    """Import a model.

    Args:
        source: A file, or a scheme and a name.
        output: The model file.
        name: The model's name.
        options: Those that are given.
        overwrite: Replace the output even if it is not an earlier import of this source.

    Returns:
        The record as written. It is not calibrated: temperature 1, nothing marked for review.

    Raises:
        TrainingError: The source can't be read or is no classifier of images, or the output can't be written.
        UsageError: The output is something else, or an option is missing or wrong.
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
    # Few, since it is said of no network how large it is.
    images = trial.images(found.preprocessing.shape, _TRIED)
    if isinstance(found.content, bytes):
        return Written(checkpoint.save_graph(output, found.content, record, images), findings)
    return Written(checkpoint.save(output, found.content, record, images), findings)


def _labels(multi_label: tuple[float, ...] | None) -> tuple[str, ...]:
    """Return, as a finding, which labels an image of a multi-label model has."""
    if multi_label is None:
        return ()
    least, most = min(multi_label), max(multi_label)
    value = f"{least:g}" if least == most else f"from {least:g} to {most:g}"
    return (f"multi-label: each class is a label whose probability reaches its threshold, {value}",)


def _label(source: str) -> str:
    """Return what the record says of a SOURCE: no path of this machine, which would be of no use elsewhere."""
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
