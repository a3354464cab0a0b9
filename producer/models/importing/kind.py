"""What every kind of import has in common."""

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
    """The options of `pigeonhole import` that decide what is made of a SOURCE; None where one is not given.

    Args:
        classes: "imagenet", or a file of class names.
        preprocess: "imagenet", or a JSON file (`producer.models.importing.recipe`).
        mean: Subtracted from the pixels, in units of 255.
        std: Divides the pixels, in units of 255.
        network: The name of the network that weights are of.
        weights: A file of weights, in place of those that a registry names.
        multi_label: True if an image may have several labels.
        threshold: Of a multi-label model: the probability from which a class is a label.
        thresholds: Of a multi-label model: a file of one threshold for each class.
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


#: The options that go with every kind.
_COMMON = frozenset({"multi_label", "threshold", "thresholds"})


@dataclass(frozen=True)
class Imported:
    """A model as a kind of import reads it: a graph, or a network of ours with its weights.

    Args:
        network: As of `Checkpoint`.
        arguments: As of `Checkpoint`.
        classes: As of `Checkpoint`.
        preprocessing: As of `Checkpoint`.
        content: The graph as ONNX, or the network.
        findings: What was found out and what was assumed, a line each, for the user.
        cost: Of a graph; that of a network is measured when it is saved.
        origin: For the record, beside the SOURCE.
        multi_label: Whether the SOURCE says that an image may have several labels.
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
    """A kind of SOURCE that models are imported from."""

    #: The fields of `ImportOptions` that it uses beside the common ones; another one that is given is an error.
    options: ClassVar[frozenset[str]]
    #: What it is called in messages.
    title: ClassVar[str]

    @abstractmethod
    def read(self, source: str, options: ImportOptions) -> Imported:
        """Read a model.

        Args:
            source: The SOURCE, without a scheme.
            options: Those that are given.

        Raises:
            TrainingError: It can't be read, or is no classifier of images.
            UsageError: An option is missing or wrong.
        """

    def check(self, options: ImportOptions) -> None:
        """Raise UsageError if an option is given that this kind has no use for."""
        for name, value in vars(options).items():
            if value is not None and name not in self.options | _COMMON:
                raise UsageError(f"--{name} does not go with {self.title}; leave it out.")
