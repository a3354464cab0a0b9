"""The comparison of two checkpoints on the same labelled images: which is better, and where they disagree."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from training.evaluation.measure import Evaluated

LETTERS = ("A", "B")  # names of the two, as in `pigeonhole evaluate A B`
_SIGNIFICANCE = 0.05  # p-value below which one is called better


@dataclass(frozen=True)
class Compared:
    """The comparison of two checkpoints on the same images.

    Args:
        pair: Results of each, with the same images, true labels, names and classes in the same order. Files that one
            of them can't read are in neither.
        failed: Path and error of each such file, and the letters of the checkpoints that can't read it.
    """

    pair: tuple[Evaluated, Evaluated]
    failed: tuple[tuple[str, str, str], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the notices about the images, each with the letter of its checkpoint."""
        first, second = (each.note for each in self.pair)
        if first == second:
            return (first,) if first else ()
        return tuple(f"{letter}: {note}" for letter, note in zip(LETTERS, (first, second), strict=True) if note)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes of both, in the order of the first."""
        return self.pair[0].report.classes

    @cached_property
    def only(self) -> tuple[int, int]:
        """Return the numbers of images that only the first, and only the second, has right."""
        first, second = (each.report.wrong for each in self.pair)
        return int((~first & second).sum()), int((first & ~second).sum())

    @property
    def both(self) -> int:
        """Return the number of images that both have right."""
        return self.pair[0].report.right - self.only[0]

    @property
    def neither(self) -> int:
        """Return the number of images that neither has right."""
        return self.pair[0].report.images - self.both - sum(self.only)

    @cached_property
    def p(self) -> float:
        """Return the p-value of McNemar's test, 0…1."""
        return mcnemar(*self.only)

    @property
    def better(self) -> str | None:
        """Return the letter of the better one; None if the difference is not significant."""
        return LETTERS[self.only[1] > self.only[0]] if self.p < _SIGNIFICANCE else None

    @cached_property
    def disagreements(self) -> list[int]:
        """Return the indices of the images with different predictions, the most confident mistake first."""
        first, second = (each.report for each in self.pair)
        mistaken = torch.stack([torch.where(each.wrong, each.after.confidence, 0.0) for each in (first, second)])
        found = (first.predictions != second.predictions).nonzero().flatten()  # int64 [n]
        order = mistaken.amax(dim=0)[found].argsort(descending=True, stable=True)
        disagreements: list[int] = found[order].tolist()
        return disagreements

    def predicted(self, index: int) -> tuple[str, str]:
        """Return the two predicted labels of an image."""
        first, second = (self.classes[each.report.predictions[index]] for each in self.pair)
        return first, second

    def truth(self, index: int) -> str:
        """Return the true label of an image."""
        return self.classes[self.pair[0].report.truths[index]]

    def to_json(self) -> dict[str, Any]:
        """Return all figures and disagreements as plain JSON values, the most confident mistake first."""
        return {
            "source": self.pair[0].source,
            "notes": list(self.notes),
            "classes": list(self.classes),
            **{letter: _figures(each) for letter, each in zip(LETTERS, self.pair, strict=True)},
            "right": {"both": self.both, "only_A": self.only[0], "only_B": self.only[1], "neither": self.neither},
            "p": self.p,
            "better": self.better,
            "disagreements": [self._disagreement(index) for index in self.disagreements],
            "failed": [{"path": path, "error": error, "by": list(by)} for path, error, by in self.failed],
        }

    def _disagreement(self, index: int) -> dict[str, Any]:
        return {
            "image": self.pair[0].names[index],
            "truth": self.truth(index),
            **{
                letter: {
                    "given": predicted,
                    "confidence": float(each.report.after.confidence[index]),
                    "review": bool(each.report.marked[index]),
                }
                for letter, predicted, each in zip(LETTERS, self.predicted(index), self.pair, strict=True)
            },
        }


def _figures(evaluated: Evaluated) -> dict[str, Any]:
    about = evaluated.checkpoint
    return {"checkpoint": {"name": about.name, "digest": about.digest}, **evaluated.report.to_json()}


def mcnemar(first: int, second: int) -> float:
    """Return the p-value of the exact test of Q. McNemar, 1947, for two classifiers on the same images.

    Images that both have right, or both wrong, do not count. If both classifiers were equally good, each would have
    half of the other images right: the p-value is that of a two-sided binomial test.

    Args:
        first: Number of images that only the first has right.
        second: Number of images that only the second has right.

    Returns:
        The p-value, 0…1.
    """
    count, fewer = first + second, min(first, second)
    ways = tail = 1  # ways to choose 0 of `count`; integers, so that only the division rounds
    for number in range(1, fewer + 1):
        ways = ways * (count - number + 1) // number
        tail += ways
    p: float = 2 * tail / 2**count
    return min(1.0, p)


def reorder(logits: Tensor, theirs: tuple[str, ...], ours: tuple[str, ...]) -> Tensor:
    """Reorder logits for the same classes in another order; the logit of "unknown" stays last.

    Args:
        logits: float32 [N, L], L at least the number of classes.
        theirs: Classes in the order of the logits.
        ours: The same classes in the new order.

    Returns:
        float32 [N, L].
    """
    return logits[:, [*map(theirs.index, ours), *range(len(theirs), logits.shape[1])]]
