"""Imports an ONNX file."""

from pathlib import Path
from typing import ClassVar

from pigeonhole.errors import UsageError
from pigeonhole.models.conversion.isolated import convert_file
from pigeonhole.models.record import Cost
from producer.models.importing import class_names, recipe
from producer.models.importing.kind import Imported, ImportKind, ImportOptions


class OnnxFile(ImportKind):
    """An ONNX file; layout, size and outputs are detected, classes and preprocessing come from the options."""

    options: ClassVar = frozenset({"classes", "preprocess"})
    title = "an ONNX file"

    def read(self, source: str, options: ImportOptions) -> Imported:
        """Read the model; see `ImportKind.read`."""
        names = class_names.read(Path(options.classes)) if options.classes not in (None, class_names.IMAGENET) else ()
        prepare, assumed = _recipe(options)
        count, multi_label = len(names) or None, bool(options.multi_label)
        found = convert_file(Path(source), prepare.normalisation, prepare.size, count, multi_label)
        try:
            classes = class_names.named(options.classes, found.logits)
        except UsageError as exc:
            raise UsageError(f"{source}: {exc}") from exc
        return Imported(
            network="onnx",
            arguments={"precision": "f32"},
            classes=classes,
            preprocessing=prepare.preprocessing(*found.placement.shape),
            content=found.graph,
            findings=(found.describe(), *assumed),
            cost=Cost(0, found.parameters),
            origin={"producer": found.producer} if found.producer else {},
        )


def _recipe(options: ImportOptions) -> tuple[recipe.Recipe, tuple[str, ...]]:
    """Return the preprocessing of the options, or the assumed one with a note about it."""
    if options.preprocess is not None:
        return recipe.chosen(options.preprocess), ()
    if options.classes == class_names.IMAGENET:
        return recipe.imagenet(), ("assumed: --preprocess imagenet, because --classes imagenet is given",)
    return recipe.STRETCH, (
        "assumed: images are stretched to that size, pixels are 0 to 1; give --preprocess if the training differed",
    )
