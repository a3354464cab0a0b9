"""Exports a torch model of another library to an ONNX graph."""

from typing import TYPE_CHECKING, ClassVar

from pigeonhole.errors import CheckpointError
from pigeonhole.models.conversion import convert, foreign, trial
from pigeonhole.models.conversion.wrap import Normalisation
from pigeonhole.models.graph import OUTPUT
from pigeonhole.models.record import Cost
from producer.models.importing.kind import Imported
from producer.models.importing.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

_COMPARED = 4  # number of images on which graph and model must agree


def exported(
    model: "nn.Module", prepare: Recipe, channels: int, classes: tuple[str, ...], findings: tuple[str, ...]
) -> Imported:
    """Export a model, and compare the graph with it.

    Args:
        model: float32 [N, C, H, W] → float32 [N, classes], in eval mode.
        prepare: The preprocessing with its size.
        channels: The number of channels: C.
        classes: The names of the classes, in the order of the logits.
        findings: Notes for the user, as in `Imported`.

    Raises:
        CheckpointError: The model can't be exported, or the graph returns other values.
    """
    import torch

    from pigeonhole.models.export import graph_of
    from pigeonhole.models.networks.network import Network

    class Fed(Network):
        """The model with the normalisation of pixels before it."""

        folds: ClassVar = False

        def __init__(self) -> None:
            mean, std = ((each * channels)[:channels] for each in vars(prepare.normalisation).values())
            super().__init__(mean, std)
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(self.pixels(pixels))
            return logits

    assert prepare.size is not None
    seen, network = prepare.preprocessing(*prepare.size, channels), Fed().eval()
    graph = graph_of(network, seen.shape)
    found = convert.convert(foreign.parse(graph), Normalisation(), classes=len(classes))
    pixels = trial.images(seen.shape, _COMPARED)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(pixels)).numpy()
    if trial.differs(trial.Session(found.graph).run(pixels)[OUTPUT], wanted):
        raise CheckpointError("The model's graph returns other values than the model: it can't be exported to ONNX.")
    return Imported(
        network="onnx",
        arguments={"precision": "f32"},
        classes=classes,
        preprocessing=seen,
        content=found.graph,
        findings=(*findings, f"exported to ONNX, which takes {found.batches}"),
        cost=Cost(*network.cost(seen)),
    )
