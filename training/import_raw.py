"""Import, whole: a raw state_dict of somebody else's becomes a checkpoint."""

from pathlib import Path

from pigeonhole.errors import CheckpointError
from pigeonhole.models import checkpoint, networks, raw
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from training import environment
from training.datasets import splits
from training.recipes.defaults import plan


def import_raw(source: Path, network: str, output: Path, name: str, mean: float, std: float) -> Checkpoint:
    """Make a checkpoint from a raw state_dict.

    Args:
        source: What `torch.save(model.state_dict(), …)` wrote.
        network: The name of ours with the same layers: "classic".
        output: The checkpoint to write.
        name: The checkpoint's.
        mean: What the pixels were normalised with when it was trained, in units of 255.
        std: Likewise.

    Returns:
        The checkpoint as written, not calibrated: temperature 1, nothing marked for review.

    Raises:
        CheckpointError: The file holds something else.
        TrainingError: The output can't be written.
    """
    checkpoint.check_name(name)
    if network != "classic":
        raise CheckpointError(f"Weights of the network {network!r} can't be imported; `classic` can.")
    weights = raw.read(source)
    arguments = networks.complete(network, {"mean": mean, "std": std})
    expected = dict(networks.build(network, arguments, len(splits.MNIST_CLASSES)).named_parameters())
    matched = raw.match(weights, expected, free="layers.7.weight")
    classes = tuple(str(label) for label in range(len(matched["layers.7.weight"])))
    ours = networks.build(network, arguments, len(classes))
    ours.load_state_dict({**ours.state_dict(), **matched})
    return checkpoint.save(
        output,
        ours.eval(),
        name=name,
        architecture=network,
        arguments=arguments,
        classes=classes,
        preprocessing=plan(network).preprocessing,
        calibration=Calibration(),
        trained={"imported": source.name, "versions": environment.versions(), "finished": environment.now()},
        measured={},
    )
