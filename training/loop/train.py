"""The whole training: data, network, epochs, calibration, checkpoint. It prints nothing; the caller does."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch

from pigeonhole import provenance
from pigeonhole.errors import CheckpointError, TrainingError
from pigeonhole.filesystem.replacing import check_own
from pigeonhole.models import checkpoint, export
from pigeonhole.models.checkpoint import Checkpoint
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.network import Network
from training import environment
from training.configuration import Configuration
from training.datasets.files.distinct import LeftOut
from training.datasets.splits import Split, digest
from training.evaluation import measure
from training.evaluation.calibrate import calibrate
from training.evaluation.measure import Evaluated
from training.loop import epochs, prepare, resume
from training.loop import log as logs
from training.loop.epochs import Epoch, Outcome
from training.loop.prepare import TrainingSetup

_SHOWN = 5  # left-out files that are listed
#: Keys of a training's identity that depend on its images; they change when images are added.
_MEASURED = ("data_digest", "arguments", "preprocessing", "fonts_digest")


class Watcher:
    """The callbacks for the progress of a training; they do nothing here, and a subclass replaces them."""

    def note(self, text: str) -> None:
        """Receive a notice for the user."""

    def reading(self, done: int, total: int) -> None:
        """Receive the number of files read, and of all files."""

    def ready(self, epochs: int) -> None:
        """Receive the largest number of epochs, after everything is read."""

    def synthetic_images(self, done: int, total: int) -> None:
        """Receive the number of synthetic images made, and of all of them."""

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Receive the numbers, from 1, of the epoch and of the finished step, and the number of steps in an epoch."""

    def epoch(self, done: Epoch) -> None:
        """Receive a finished epoch with its measures."""


@dataclass(frozen=True)
class Trained:
    """The result of a training: the checkpoint, its evaluation, and its epochs.

    Args:
        checkpoint: Description of the checkpoint that was written.
        evaluated: Evaluation on the test images, or on the validation split if there are none.
        outcome: Epochs, and the one that was chosen.
    """

    checkpoint: Checkpoint
    evaluated: Evaluated
    outcome: Outcome


def train(config: Configuration, watcher: Watcher | None = None) -> Trained:
    """Train a network, and write a checkpoint and a log beside it; Ctrl-C after the first epoch keeps the best so far.

    After each epoch the state is written beside the checkpoint, for `Configuration.resume`; it is removed at the end.

    Args:
        config: Training configuration.
        watcher: Receiver of the progress; None for none.

    Raises:
        TrainingError: The data, the device, the name, the output or the state can't be used; raised before training.
        UsageError: Another command wrote the output.
        KeyboardInterrupt: Ctrl-C before the first epoch was finished.
    """
    watcher = watcher or Watcher()
    setup = prepare.gather(config, watcher.reading)
    for note in (*setup.notes, *_left_out(setup.data.left_out)):
        watcher.note(note)
    watcher.ready(setup.recipe.epochs)
    state = _state(config, setup, watcher)
    started = time.perf_counter()
    pool = prepare.synthetic_images(setup, config.seed, watcher.synthetic_images)
    times = {"data": setup.seconds, "pool": time.perf_counter() - started}

    about = _about(config, setup, pool)
    if state is not None and state["pool_digest"] != about["pool_digest"]:
        raise TrainingError(
            f"{resume.file_of(config.output)}: the training started with other synthetic images than this version "
            "makes. Resume with the version that started it, or give --overwrite instead of --resume to start again."
        )
    log = logs.Log(logs.file_of(config.output), append=state is not None)
    log.write("order" if state is None else "resume", about)
    for file in setup.data.left_out if state is None else ():
        log.write("left-out", asdict(file))
    outcome = _fit(config, setup, pool, about["pool_digest"], state, log, watcher)
    times["epochs"] = outcome.seconds
    trained = _written(config, setup, outcome, {**about, "times": {key: round(t, 1) for key, t in times.items()}})
    log.write(
        "end",
        {
            **{key: trained.checkpoint.trained[key] for key in ("kept_epoch", "interrupted", "times")},
            "measured": trained.checkpoint.measured,
            "calibration": trained.checkpoint.calibration.to_json(),
            "digest": trained.checkpoint.digest,
        },
    )
    if not outcome.interrupted:
        resume.file_of(config.output).unlink(missing_ok=True)
    return trained


def check(config: Configuration) -> None:
    """Raise TrainingError if the output, the name or the recipe can't be used."""
    prepare.check(config)


def recipe(config: Configuration) -> dict[str, Any]:
    """Read the data, and return the recipe that a configuration would train with, as JSON values.

    Raises:
        TrainingError: The data, the device, the name or the output can't be used.
    """
    return asdict(prepare.gather(config).recipe)


def _left_out(files: Sequence[LeftOut]) -> Iterator[str]:
    if files:
        kinds = Counter(file.reason for file in files).items()
        yield f"left out: {', '.join(f'{count:,} {reason}' for reason, count in kinds)}; the log has all of them"
    for file in files[:_SHOWN]:
        yield f"left out: {file}"


def _state(config: Configuration, setup: TrainingSetup, watcher: Watcher) -> Mapping[str, Any] | None:
    """Return the state to resume from; None to start from the beginning."""
    file = resume.file_of(config.output)
    if config.resume and file.exists():
        state = resume.read(file, setup.identity)
        watcher.note(f"Resuming after epoch {len(state['epochs'])}, from {file}.")
        return state  # the output was checked when this training started
    if config.resume:
        watcher.note(f"There is no {file} to resume from; training starts from the beginning.")
    check_own(config.output, lambda path: _is_own(path, config.model_name, setup), config.overwrite)
    check_own(logs.file_of(config.output), logs.is_log, config.overwrite)
    if file.exists() and not config.overwrite:
        raise TrainingError(
            f"{file} holds the state of an interrupted training. Give --resume if this command wrote it, or "
            "--overwrite to start again."
        )
    return None


def _is_own(path: Path, name: str, setup: TrainingSetup) -> bool:
    """Return whether this command wrote a checkpoint, perhaps with fewer images."""
    try:
        there = checkpoint.describe(path)
    except CheckpointError:
        return False
    ours = json.loads(json.dumps(setup.identity))  # lists for tuples, as in a checkpoint
    return there.name == name and all(there.trained.get(key) == ours[key] for key in ours if key not in _MEASURED)


def _fit(
    config: Configuration,
    setup: TrainingSetup,
    pool: Split | None,
    pool_digest: str | None,
    state: Mapping[str, Any] | None,
    log: logs.Log,
    watcher: Watcher,
) -> Outcome:
    file = resume.file_of(config.output)

    def on_epoch(epoch: Epoch) -> None:
        log.write("epoch", epoch.to_json())
        watcher.epoch(epoch)

    return epochs.fit(
        _initial_network(setup, config.seed, resumed=state is not None),
        setup.data.training,
        setup.data.validation,
        setup.recipe,
        config.seed,
        setup.device,
        watcher.step,
        on_epoch,
        classes=len(setup.data.classes),
        pool=pool,
        resume=state,
        on_state=lambda now: resume.write(file, setup.identity, {**now, "pool_digest": pool_digest}),
    )


def _written(config: Configuration, setup: TrainingSetup, outcome: Outcome, about: Mapping[str, Any]) -> Trained:
    """Calibrate and measure the network, and save the checkpoint."""
    read, classes = setup.data, setup.data.classes
    served = cast(Network, outcome.network).folded()
    logits = epochs.predict(served, read.validation.images)
    calibration = calibrate(logits, read.validation.labels, len(classes), config.review_budget)
    on_validation = measure.measure(logits, read.validation.labels, classes, calibration)
    measured, figures, images = {"validation": on_validation.to_json()}, on_validation, read.validation.images
    if read.test is not None:
        figures = measure.measure(epochs.predict(served, read.test.images), read.test.labels, classes, calibration)
        measured, images = {**measured, "test": figures.to_json()}, read.test.images
    saved = checkpoint.save(
        config.output,
        served,
        Checkpoint(
            name=config.model_name,
            network=setup.network,
            arguments=setup.arguments,
            classes=classes,
            preprocessing=read.preprocessing,
            calibration=calibration,
            trained={
                **about,
                "epochs": [epoch.to_json() for epoch in outcome.epochs],
                "kept_epoch": outcome.kept.number,
                "interrupted": outcome.interrupted,
                "seconds": round(outcome.seconds, 1),
                "finished": provenance.now(),
            },
            measured=measured,
        ),
        read.validation.images[: export.COMPARED].numpy(),
    )
    return Trained(saved, Evaluated(saved, read.source, figures, images, read.names), outcome)


def _initial_network(setup: TrainingSetup, seed: int, resumed: bool) -> Network:
    """Return the network with its initial weights; a resumed training replaces them by those of its state."""
    # Random weights come from torch's global generator: it is seeded here, and restored for the caller.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = networks.build(setup.network, setup.arguments, setup.logits)
    if setup.initial_weights and not resumed:
        setup.initial_weights.initialise(network, setup.data.classes, setup.data.training.images)
    return network


def _about(config: Configuration, setup: TrainingSetup, pool: Split | None) -> dict[str, Any]:
    """Return the record of the training as JSON values: its identity, sizes, device, versions and commit."""
    return {
        **setup.identity,
        "training_images": len(setup.data.training),
        "validation_images": len(setup.data.validation),
        "pool_images": len(pool) if pool else 0,
        "pool_digest": digest(pool) if pool else None,
        "review_budget": config.review_budget,
        **({"overrides": setup.overrides} if setup.overrides else {}),
        "device": setup.device,
        "threads": torch.get_num_threads(),
        "versions": provenance.versions(),
        "commit": environment.commit(),
    }
