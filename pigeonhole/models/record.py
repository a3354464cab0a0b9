"""The record in a model file: typed, checked, and stored as JSON. This module needs no torch, numpy or Pillow."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from pigeonhole.errors import CheckpointError, TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.text import model_identity

VERSION = 2
#: The runtimes that a model file may name (`pigeonhole.models.runtimes.registry`).
ONNX_RUNTIME, TORCH = "onnxruntime", "torch"
#: The network's name for a model that has only an ONNX graph.
GRAPH_ONLY = "onnx"
# The name of a model is part of the name of its queue in Redis.
LONGEST_NAME = 64
NAME = re.compile(rf"[a-z0-9._-]{{1,{LONGEST_NAME}}}")

_DIGEST = re.compile(r"[0-9a-f]{64}")

Number = TypeVar("Number", bound=Any)  # a float, or a tensor or array of floats


@dataclass(frozen=True)
class Calibration:
    """Parameters that turn logits into confidence and review score.

    Args:
        temperature: The logits are divided by this before the softmax; above 0.
        review_below: Images with a review score below this, 0…1, are marked for review.
        outlier: Whether the network has one more logit than classes, the last one: "unknown". It is part of the
            softmax, so it lowers the confidence in the classes, but it is never a label.
        outlier_in_confidence: The assumed share of out-of-distribution images for the confidence, as a multiple of
            their share in training.
        outlier_in_review: The assumed share of out-of-distribution images for the review score, as a multiple of their
            share in training. The review score is otherwise the confidence.
        thresholds: For a multi-label model: one probability per class. Every class that reaches its threshold is a
            label. Each logit has its own sigmoid, and the review score is the distance of the nearest probability from
            its threshold. None: a softmax, and one label.
    """

    temperature: float = 1.0
    review_below: float = 0.0
    outlier: bool = False
    outlier_in_confidence: float = 1.0
    outlier_in_review: float = 1.0
    thresholds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.temperature) or self.temperature <= 0:
            raise CheckpointError(f"The temperature must be a number above 0, not {self.temperature!r}.")
        if not _is_number(self.review_below) or not 0 <= self.review_below <= 1:
            raise CheckpointError(f"review_below must be a number from 0 to 1, not {self.review_below!r}.")
        if not isinstance(self.outlier, bool):
            raise CheckpointError(f"outlier must be true or false, not {self.outlier!r}.")
        for key in _WEIGHTS:
            value = getattr(self, key)
            if not _is_number(value) or value <= 0:
                raise CheckpointError(f"{key} must be a number above 0, not {value!r}.")
        if self.thresholds is not None:
            self._check_thresholds(self.thresholds)

    def _check_thresholds(self, thresholds: Sequence[float]) -> None:
        if not isinstance(thresholds, list | tuple):  # JSON has lists
            raise CheckpointError(f"thresholds must be a list of numbers, not {thresholds!r}.")
        object.__setattr__(self, "thresholds", tuple(thresholds))
        for value in thresholds:
            if not _is_number(value) or not 0 <= value <= 1:
                raise CheckpointError(f"A threshold must be a number from 0 to 1, not {value!r}.")
        if self.outlier or any(getattr(self, key) != 1 for key in _WEIGHTS):
            raise CheckpointError('A multi-label model has no logit for "unknown": leave out thresholds or outlier.')

    def to_json(self) -> dict[str, Any]:
        """Return the calibration as plain JSON values."""
        values: dict[str, Any] = {"temperature": self.temperature, "review_below": self.review_below}
        # A newer field with its default is left out, so that older checkpoints keep their digests.
        if self.outlier:
            values["outlier"] = True
        if self.thresholds is not None:
            values["thresholds"] = list(self.thresholds)
        return {**values, **{key: getattr(self, key) for key in _WEIGHTS if getattr(self, key) != 1}}

    def confidence(self, probability: Number, other: Number) -> Number:
        """Return the confidence in a class, as rows show it.

        This is Bayes' rule for another share of out-of-distribution images than in training (M. Saerens, P. Latinne,
        C. Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori Probabilities", 2002).

        Args:
            probability: The class's probability by the softmax at this temperature, 0…1. A number, or a float64 tensor
                or array; float32 is too coarse if `other` is close to 1.
            other: The probability of "unknown" by the same softmax, of the same type; 0 without a logit for it.

        Returns:
            A value of the same shape, 0…1.
        """
        return _weighed(probability, other, self.outlier_in_confidence)

    def review_score(self, probability: Number, other: Number) -> Number:
        """Return the review score, which is compared with `review_below`.

        Args:
            probability: The probability of the most probable class, as for `confidence`.
            other: The probability of "unknown", as for `confidence`.
        """
        return _weighed(probability, other, self.outlier_in_review)

    def unknown(self, probability: Number) -> Number:
        """Return the probability of "unknown", with the assumed share of the review score.

        Args:
            probability: The probability of "unknown" by the softmax, as `other` of `confidence`.
        """
        weighted: Number = _weighed(probability * self.outlier_in_review, probability, self.outlier_in_review)
        return weighted


_WEIGHTS = ("outlier_in_confidence", "outlier_in_review")


def _weighed(probability: Number, other: Number, weight: float) -> Number:
    weighed: Number = probability / (1 + (weight - 1) * other)
    return weighed


@dataclass(frozen=True)
class Cost:
    """The size of a network.

    Args:
        multiply_adds: The multiply-adds of its convolutions and linear layers for one image.
        parameters: The number of its parameters.
    """

    multiply_adds: int
    parameters: int

    def to_json(self) -> dict[str, Any]:
        """Return the cost as plain JSON values."""
        return {"multiply_adds": self.multiply_adds, "parameters": self.parameters}


@dataclass(frozen=True)
class Checkpoint:
    """The record of a model file: everything but its weights and graph.

    Args:
        name: The model's name, which is part of its queue's name: at most 64 lower-case letters, digits, "-", "_", ".".
        network: The network's name in `pigeonhole.models.networks.registry`.
        arguments: The network's arguments; plain JSON values.
        classes: Names of the classes, in the order of the logits. With `calibration.outlier`, one more logit follows.
        preprocessing: The preprocessing of images.
        calibration: Parameters that turn logits into confidence and review score.
        cost: The size of the network.
        trained: The training: data, recipe, time and versions; plain JSON values, for people.
        measured: Accuracy and other measurements; plain JSON values, for people.
        runtimes: The runtimes that can run the model: "onnxruntime" needs a graph in the file, "torch" needs weights.
        digest: SHA-256, in hexadecimal, of everything that decides a result: network, arguments, classes,
            preprocessing, calibration, weights and graph.

    Raises:
        CheckpointError: A value is not allowed.
    """

    name: str
    network: str
    arguments: Mapping[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration
    cost: Cost = Cost(0, 0)
    trained: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    runtimes: tuple[str, ...] = (TORCH,)
    digest: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.runtimes or not set(self.runtimes) <= {ONNX_RUNTIME, TORCH}:
            raise CheckpointError(
                f"It needs the runtime {', '.join(map(str, self.runtimes)) or 'none'!r}, but this version knows "
                f"{ONNX_RUNTIME} and {TORCH}; use a newer pigeonhole."
            )
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise CheckpointError(f"A checkpoint needs at least 2 different classes, not {list(self.classes)!r}.")
        if not all(isinstance(label, str) and label for label in self.classes):
            raise CheckpointError(f"Names of classes must be texts that aren't empty, not {list(self.classes)!r}.")
        thresholds = self.calibration.thresholds
        if thresholds is not None and len(thresholds) != len(self.classes):
            raise CheckpointError(
                f"It has {len(thresholds)} thresholds for {len(self.classes)} classes; each class needs one."
            )

    @property
    def logits(self) -> int:
        """The number of logits that the network returns."""
        return len(self.classes) + self.calibration.outlier

    @property
    def precision(self) -> str:
        """The precision of the stored weights: "f32", or "int8" for a quantised model."""
        return str(self.arguments.get("precision", "f32")) if self.network == GRAPH_ONLY else "f32"

    @property
    def why_no_graph(self) -> str:
        """The reason, in words, for a missing ONNX graph."""
        return str(self.trained.get("onnx", "it was saved without one"))

    def identity(self, precision: str | None = None) -> str:
        """Return the text that names the model in rows, such as `digits@0123456789ab`.

        Args:
            precision: The precision in which the network is computed; None: that of the stored weights.
        """
        return model_identity(self.name, self.digest, precision or self.precision)

    def deciding(self) -> dict[str, Any]:
        """Return the fields that decide a result, as JSON values; the digest covers them, the weights and the graph."""
        return {
            "network": self.network,
            "arguments": dict(self.arguments),
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.to_json(),
            "calibration": self.calibration.to_json(),
        }

    def to_json(self) -> str:
        """Return one line of JSON with sorted keys."""
        values = {
            "version": VERSION,
            "name": self.name,
            **self.deciding(),
            "cost": self.cost.to_json(),
            "trained": dict(self.trained),
            "measured": dict(self.measured),
            "runtimes": list(self.runtimes),
            "digest": self.digest,
        }
        return json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Checkpoint":
        """Parse the result of `to_json`.

        Raises:
            CheckpointError: It is not JSON or of another version; or a field is missing, unknown or not allowed.
        """
        values = _parse(text)
        try:
            return cls(
                name=values["name"],
                network=_typed(values, "network", str),
                arguments=_typed(values, "arguments", dict),
                classes=tuple(_typed(values, "classes", list)),
                preprocessing=Preprocessing.from_json(_typed(values, "preprocessing", dict)),
                calibration=Calibration(**_typed(values, "calibration", dict)),
                cost=Cost(**_typed(values, "cost", dict)),
                trained=_typed(values, "trained", dict),
                measured=_typed(values, "measured", dict),
                runtimes=tuple(_typed(values, "runtimes", list)),
                digest=_digest(values["digest"]),
            )
        except TypeError as exc:
            raise CheckpointError(f"Its metadata is damaged: {exc}.") from exc
        except CheckpointError:
            raise
        except TrainingError as exc:
            raise CheckpointError(str(exc)) from exc


def check_name(name: str) -> str:
    """Return `name` if it is allowed as the name of a model.

    Raises:
        CheckpointError: The name is not allowed.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise CheckpointError(
            f"{name!r} can't name a model; use at most {LONGEST_NAME} lower-case letters, digits, '-', '_' and '.'."
        )
    return name


def _parse(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as exc:
        raise CheckpointError(f"Its metadata is not JSON: {exc}.") from exc
    if not isinstance(values, dict):
        raise CheckpointError("Its metadata is not a JSON object.")
    version = values.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise CheckpointError(
            f"It has the format version {version!r}, but this pigeonhole reads versions 1 to {VERSION}; "
            "use the pigeonhole that wrote it, or a newer one."
        )
    if version == 1:  # pigeonhole 0.2 wrote it, which had torch only
        values.setdefault("runtimes", [TORCH])
    keys = {"version", *(field.name for field in fields(Checkpoint))}
    missing, unknown = sorted(keys - set(values)), sorted(set(values) - keys)
    if missing:
        raise CheckpointError(f"Its metadata lacks {missing[0]!r}.")
    if unknown:
        raise CheckpointError(f"Its metadata has an unknown key {unknown[0]!r}.")
    return values


def _typed(values: Mapping[str, Any], key: str, kind: type) -> Any:  # noqa: ANN401 - JSON of any shape
    if not isinstance(values[key], kind):
        raise CheckpointError(f"Its metadata has {type(values[key]).__name__} for {key!r}, not {kind.__name__}.")
    return values[key]


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise CheckpointError(f"Its digest is {value!r}, not 64 hexadecimal digits.")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
