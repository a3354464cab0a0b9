"""Rows, and their computation from the answers to a batch."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise, repeat
from typing import TYPE_CHECKING, NamedTuple

from pigeonhole.limits import PPM, UNKNOWN_FROM
from pigeonhole.row_options import RowOptions

if TYPE_CHECKING:
    from pigeonhole.ledger.wire.messages import Answers, Chosen

#: The separator between the labels of an image in `Row.label`.
SEPARATOR = "|"


class Row(NamedTuple):
    """One row: the result for one submitted image.

    `confidence` and the probabilities in `top` are from 0 to 1. A row with an `error` (`kind: message`) has no
    label, and `confidence` is None. `model` is the model's name, the first 12 digits of its digest, and its precision
    if that is not f32: `digits@abb3dab59bde+bf16`.

    A multi-label model sets `labels` to all labels of the image, the most probable first. `label` is then these joined
    by `|`, `confidence` is that of the first, and `top` has all labels. An image without any label is no error: it has
    empty `labels` and `label`, and `confidence` is None. For other models, `labels` is None.

    `unknown` is the probability, from 0 to 1, that the image belongs to none of the model's classes, with such images
    as common as the model's review score assumes. It is None for an error, or if the model has no output for it.
    """

    path: str
    label: str
    confidence: float | None
    review: bool
    error: str
    model: str
    top: tuple[tuple[str, float], ...]
    labels: tuple[str, ...] | None = None
    unknown: float | None = None


def rows_of(answers: "Answers", paths: Sequence[str], options: RowOptions) -> list[Row]:
    """Return one row for each path.

    Args:
        answers: the answers, one for each path.
        paths: the paths as the user named them.
        options: the options for rows.

    Raises:
        UsageError: the label map names a class that the model does not have, or `unknown_label` is set and the model
            has no output for "unknown".
    """
    labels, model = answers.labels, answers.model
    if options.label_map is not None:
        labels = options.label_map.names(labels)
    if answers.top:
        options.check_unknown(model, bool(answers.unknown))
    if not answers.top:
        rows = [Row(path, "", None, False, "", model, ()) for path in paths]  # all of them get an error below
    elif answers.chosen is not None:
        rows = list(_labelled(answers, answers.chosen, labels, paths, options))
    else:
        # Whole columns at a time, for speed: this and the sink are most of the producer's work for a row.
        names = [labels[index] for index in answers.best]
        probabilities = [parts / PPM for parts in answers.ppm]
        if options.review_below is None:
            review = _marks(answers)
        else:
            below = options.review_below
            review = [p < below for p in probabilities[:: answers.top]]
        labelled, confidences = names[:: answers.top], probabilities[:: answers.top]
        unknown = [parts / PPM for parts in answers.unknown] if answers.unknown else repeat(None, len(answers))
        if options.unknown_label is not None:
            _name_unknown(options.unknown_label, answers, labelled, confidences)
        tops = _tops(names, probabilities, answers.top, options.top)
        columns = zip(  # three have no end
            paths, labelled, confidences, review, repeat(""), repeat(model), tops, repeat(None), unknown
        )
        rows = list(map(partial(tuple.__new__, Row), columns))
    for at, (kind, message) in answers.errors.items():
        rows[at] = Row(paths[at], "", None, False, f"{kind}: {message}", model, ())
    return rows


def _name_unknown(text: str, answers: "Answers", labels: list[str], confidences: list[float]) -> None:
    """Replace the label and confidence of each image that is marked for review, and rather unknown than not."""
    for at in answers.review:
        if answers.unknown[at] >= UNKNOWN_FROM * PPM:
            labels[at], confidences[at] = text, answers.unknown[at] / PPM


def _marks(answers: "Answers") -> list[bool]:
    """Return for each image whether the model marks it for review."""
    review = [False] * len(answers)
    for at in answers.review:
        review[at] = True
    return review


def _tops(
    names: list[str], probabilities: list[float], width: int, most: int | None
) -> Iterator[tuple[tuple[str, float], ...]]:
    """Return `Row.top` of each image.

    Args:
        names, probabilities: the most probable classes of all images, one image after the other.
        width: the number of these classes of each image.
        most: the largest number of classes to return for an image; None: all.
    """
    # The same iterator `width` times: each row takes the next `width` pairs.
    tops = zip(*[zip(names, probabilities, strict=True)] * width, strict=True)
    return tops if most is None or most >= width else (top[:most] for top in tops)


def _labelled(
    answers: "Answers", chosen: "Chosen", names: tuple[str, ...], paths: Sequence[str], options: RowOptions
) -> Iterator[Row]:
    """Yield the rows of a multi-label model; images with an error get no label."""
    marks, below, width = _marks(answers), options.review_below, answers.top
    most = min(width, options.top or width)
    spans = pairwise(accumulate(chosen.counts, initial=0))
    for at, (path, (start, stop)) in enumerate(zip(paths, spans, strict=True)):
        best = answers.best[at * width : at * width + most]
        ppm = answers.ppm[at * width : at * width + most]
        top = dict(zip(best, ppm, strict=True)) | dict(
            zip(chosen.best[start:stop], chosen.ppm[start:stop], strict=True)
        )
        labels = tuple(dict.fromkeys(names[index] for index in chosen.best[start:stop]))  # a map may merge some
        confidence = chosen.ppm[start] / PPM if stop > start else None
        review = marks[at] if below is None else confidence is not None and confidence < below
        shown = tuple((names[index], parts / PPM) for index, parts in top.items())
        yield Row(path, SEPARATOR.join(labels), confidence, review, "", answers.model, shown, labels)
