"""Two checkpoints on the same labelled images: which is better, if that shows, and where they disagree."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from training.evaluation.measure import Evaluated

LETTERS = ("A", "B")  # what the two are called, as in `pigeonhole evaluate A B`
_SIGNIFICANCE = 0.05  # the risk that is taken to call one better where both are as good


@dataclass(frozen=True)
class Compared:
    """Two checkpoints on the same images.

    Args:
        pair: What each came to; images, truths, names and classes, and their order, are the same in both. Files that
            one of them can't read are in neither.
        failed: Path and error of each such file, and the letters of those that can't read it.
    """

    pair: tuple[Evaluated, Evaluated]
    failed: tuple[tuple[str, str, str], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The notices and warnings about the images, each with the letter of the checkpoint that it is about."""
        first, second = (each.note for each in self.pair)
        if first == second:
            return (first,) if first else ()
        return tuple(f"{letter}: {note}" for letter, note in zip(LETTERS, (first, second), strict=True) if note)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of both, in the order of the first."""
        return self.pair[0].report.classes

    @cached_property
    def only(self) -> tuple[int, int]:
        """How many images the first alone has right, and the second alone."""
        first, second = (each.report.wrong for each in self.pair)
        return int((~first & second).sum()), int((first & ~second).sum())

    @property
    def both(self) -> int:
        """How many images both have right."""
        return self.pair[0].report.right - self.only[0]

    @property
    def neither(self) -> int:
        """How many images neither has right."""
        return self.pair[0].report.images - self.both - sum(self.only)

    @cached_property
    def p(self) -> float:
        """How likely so large a difference, or a larger one, would be if both were as good: 0…1."""
        return mcnemar(*self.only)

    @property
    def better(self) -> str | None:
        """The letter of the better one; None where no difference shows."""
        return LETTERS[self.only[1] > self.only[0]] if self.p < _SIGNIFICANCE else None

    @cached_property
    def disagreements(self) -> list[int]:
        """Where in the images those are that the two call differently, the surest mistake first."""
        first, second = (each.report for each in self.pair)
        mistaken = torch.stack([torch.where(each.wrong, each.after.confidence, 0.0) for each in (first, second)])
        found = (first.predictions != second.predictions).nonzero().flatten()  # int64 [n]
        order = mistaken.amax(dim=0)[found].argsort(descending=True, stable=True)
        disagreements: list[int] = found[order].tolist()
        return disagreements

    def predicted(self, index: int) -> tuple[str, str]:
        """What each calls an image."""
        first, second = (self.classes[each.report.predictions[index]] for each in self.pair)
        return first, second

    def truth(self, index: int) -> str:
        """What an image is."""
        return self.classes[self.pair[0].report.truths[index]]

    def to_json(self) -> dict[str, Any]:
        """All figures, and all disagreements, the surest mistake first, as plain JSON values."""
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
    """The exact test of Q. McNemar, 1947, of two shares of the same images.

    Images that both have right, or both wrong, say nothing of which is better. Of the others, were both as good, either
    one would be right as often as a coin falls on its head: the p-value is a binomial's, of both sides.

    Args:
        first: How many images only the one has right.
        second: How many only the other.

    Returns:
        The p-value, 0…1.
    """
    count, fewer = first + second, min(first, second)
    ways = tail = 1  # to choose 0 of `count`; whole numbers, so that nothing is rounded before the division
    for number in range(1, fewer + 1):
        ways = ways * (count - number + 1) // number
        tail += ways
    p: float = 2 * tail / 2**count
    return min(1.0, p)


def reorder(logits: Tensor, theirs: tuple[str, ...], ours: tuple[str, ...]) -> Tensor:
    """Put logits into the order of other classes, the same ones; what follows the classes stays where it is.

    Args:
        logits: float32 [N, L], L at least the number of classes.
        theirs: The classes in the order of the logits.
        ours: The same classes in the order that is wanted.

    Returns:
        float32 [N, L].
    """
    return logits[:, [*map(theirs.index, ours), *range(len(theirs), logits.shape[1])]]
