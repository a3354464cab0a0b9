"""Imports a network of torchvision, with its own weights or others; both runtimes can run it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pigeonhole.errors import CheckpointError, UsageError
from pigeonhole.models.conversion.wrap import Normalisation
from pigeonhole.models.networks import registry
from producer.models.importing import class_names, fingerprints, recipe
from producer.models.importing.kind import Imported, ImportKind, ImportOptions
from producer.models.importing.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

#: Networks whose published weights need another normalisation, for which these networks have an option.
_TRANSFORMING = ("googlenet", "inception_v3")


class TorchvisionNetwork(ImportKind):
    """A network by its name in torchvision, with torchvision's newest weights."""

    options: ClassVar = frozenset({"classes", "preprocess", "weights"})
    title = "torchvision:NAME"

    def read(self, source: str, options: ImportOptions) -> Imported:
        """Read the model; see `ImportKind.read`."""
        from pigeonhole.models.networks import vision

        if not vision.has(source):
            raise UsageError(
                f"torchvision has no classification network {source!r}; it has resnet18, mobilenet_v3_small, "
                "efficientnet_b0 and others: https://docs.pytorch.org/vision/stable/models.html#classification"
            )
        if options.weights is not None:
            from producer.models.importing.state_dict import read

            return with_weights(source, read(options.weights), options)
        weights = vision.pretrained(source, "give --weights FILE, wherever the file lies")
        if options.classes is None:
            from torchvision.models import get_model_weights

            # torchvision's class names for these weights; today all of them are ImageNet's.
            return _imported(source, weights, tuple(get_model_weights(source).DEFAULT.meta["categories"]), options)
        return with_weights(source, weights, options)


def with_weights(name: str, weights: "Mapping[str, Tensor]", options: ImportOptions) -> Imported:
    """Return one of torchvision's networks with these weights.

    Args:
        name: The network's name in torchvision.
        weights: The state_dict.
        options: The options; only classes, preprocess, mean and std are used.

    Raises:
        CheckpointError: The weights belong to another network.
        UsageError: There is no such network, or class names are missing.
    """
    head = _head(name, weights)
    return _imported(name, weights, class_names.named(options.classes, len(weights[head])), options)


def preprocessing_of(name: str) -> Recipe:
    """Return torchvision's preprocessing for the newest weights of a network."""
    from torchvision.models import get_model_weights

    seen = get_model_weights(name).DEFAULT.transforms()
    (side,), (resize,) = seen.crop_size, seen.resize_size
    normalisation = Normalisation(tuple(seen.mean), tuple(seen.std))
    return Recipe("center-crop", normalisation, side, side, resize, seen.interpolation.value)


def _imported(name: str, weights: "Mapping[str, Tensor]", classes: tuple[str, ...], options: ImportOptions) -> Imported:
    prepare, findings = _recipe(name, options)
    height, width = prepare.size or (224, 224)
    seen = prepare.preprocessing(height, width, 3)
    mean, std = (list(each) if len(each) == 3 else list(each) * 3 for each in vars(prepare.normalisation).values())
    arguments = registry.complete(name, {"mean": mean, "std": std}, seen)
    if name in _TRANSFORMING and classes == class_names.imagenet():
        arguments["options"] = {**arguments["options"], "transform_input": True}
    network = registry.build(name, arguments, len(classes))
    wanted = network.state_dict()
    theirs = {f"network.{key}": weights[key] for key in fingerprints.used(weights)}
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    pixels = {key: value for key, value in wanted.items() if key.startswith("pixels.")}
    _check(name, theirs, {key: value for key, value in wanted.items() if key not in counters and key not in pixels})
    network.load_state_dict({**wanted, **{key: value.to(wanted[key].dtype) for key, value in theirs.items()}})
    return Imported(name, arguments, classes, seen, network, findings)


def _recipe(name: str, options: ImportOptions) -> tuple[Recipe, tuple[str, ...]]:
    """Return the preprocessing of the options, or torchvision's own with a note about it."""
    if options.preprocess is not None and (options.mean, options.std) != (None, None):
        raise UsageError("--preprocess already sets mean and std; drop --mean and --std.")
    if options.preprocess is not None:
        return recipe.chosen(options.preprocess), ()
    own = preprocessing_of(name)
    given = (options.mean, options.std) != (None, None)
    if given:
        mean, std = options.mean or 0.0, 1.0 if options.std is None else options.std
        own = replace(own, normalisation=Normalisation((mean,), (std,)))
    return own, (
        f"assumed: torchvision's preprocessing for {name}: shorter side to {own.resize} pixels ({own.interpolation}), "
        f"the middle {own.width} x {own.height}" + ("" if given else ", ImageNet's mean and std"),
    )


def _head(name: str, weights: "Mapping[str, Tensor]") -> str:
    """Return the name of a weight that has a row for each class."""
    known = fingerprints.known().get(name)
    if known is None:
        raise UsageError(
            f"Unknown network {name!r}; --network takes classic, or one of torchvision's such as resnet18."
        )
    missing = [each for each in known.head if each not in weights]
    if missing:
        raise CheckpointError(f"These are not the weights of {name}: {missing[0]!r} is missing.")
    return known.head[0]


def _check(name: str, theirs: "Mapping[str, Tensor]", wanted: "Mapping[str, Tensor]") -> None:
    missing, unknown = sorted(set(wanted) - set(theirs)), sorted(set(theirs) - set(wanted))
    other = [key for key in theirs if key in wanted and theirs[key].shape != wanted[key].shape]
    if missing or unknown or other:
        key = (missing or unknown or other)[0]
        what = "is missing" if missing else "is unknown" if unknown else f"has the shape {list(theirs[key].shape)}"
        raise CheckpointError(f"These are not the weights of {name}: {key.removeprefix('network.')!r} {what}.")
