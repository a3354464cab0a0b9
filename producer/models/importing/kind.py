"""The base class of the kinds of imports, their options and their result."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pigeonhole.errors import UsageError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.record import Cost

if TYPE_CHECKING:
    from pigeonhole.models.networks.network import Network


@dataclass(frozen=True)
class ImportOptions:
    """The options of `pigeonhole import` about a SOURCE; None if an option is not given.

    Args:
        classes: "imagenet", or a file of class names.
        preprocess: "imagenet", or a JSON file (`producer.models.importing.recipe`).
        mean: Subtracted from the pixels, in units of 255.
        std: Divides the pixels, in units of 255.
        network: The name of the weights' network.
        weights: A file of weights, instead of those of a registry.
        multi_label: True if an image may have several labels.
        threshold: For a multi-label model, the probability from which a class is a label.
        thresholds: For a multi-label model, a file with a threshold for each class.
    """

    classes: str | None = None
    preprocess: str | None = None
    mean: float | None = None
    std: float | None = None
    network: str | None = None
    weights: Path | None = None
    multi_label: bool | None = None
    threshold: float | None = None
    thresholds: Path | None = None


#: The options that all kinds take.
_COMMON = frozenset({"multi_label", "threshold", "thresholds"})


@dataclass(frozen=True)
class Imported:
    """An imported model: a graph, or one of our networks with its weights.

    Args:
        network: The network's name, as in `Checkpoint`.
        arguments: The network's arguments, as in `Checkpoint`.
        classes: The names of the classes, as in `Checkpoint`.
        preprocessing: The preprocessing, as in `Checkpoint`.
        content: The graph as ONNX, or the network.
        findings: Notes for the user about detected and assumed properties, a line each.
        cost: The cost of a graph; that of a network is measured when it is saved.
        origin: Facts for the record, beside the SOURCE.
        multi_label: Whether the SOURCE itself is multi-label.
    """

    network: str
    arguments: Mapping[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    content: "bytes | Network"
    findings: tuple[str, ...] = ()
    cost: Cost = field(default_factory=lambda: Cost(0, 0))
    origin: Mapping[str, Any] = field(default_factory=dict)
    multi_label: bool = False


class ImportKind(ABC):
    """A kind of SOURCE from which models are imported."""

    #: The fields of `ImportOptions` that the kind takes beside the common ones; others raise an error.
    options: ClassVar[frozenset[str]]
    #: The name of the kind in messages.
    title: ClassVar[str]

    @abstractmethod
    def read(self, source: str, options: ImportOptions) -> Imported:
        """Read a model.

        Args:
            source: The SOURCE without its scheme.
            options: The options of the import.

        Raises:
            TrainingError: The model can't be read, or is not an image classifier.
            UsageError: An option is missing or wrong.
        """

    def check(self, options: ImportOptions) -> None:
        """Raise UsageError if an option is given that this kind does not take."""
        for name, value in vars(options).items():
            if value is not None and name not in self.options | _COMMON:
                raise UsageError(f"--{name} does not apply to {self.title}; drop it.")
