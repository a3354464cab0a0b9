"""Connected components of a mask, found from runs of set pixels, with numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Components:
    """N components of a mask [h, w], 8-connected, in the order of their first pixels.

    Args:
        shape: h and w.
        runs: int64 [R, 3]: row, first column and end column of each run of set pixels, row by row.
        component_of: int64 [R], the index of each run's component.
        boxes: int64 [N, 4]: top, left, bottom, right of each component; the last two are exclusive.
    """

    shape: tuple[int, int]
    runs: NDArray[np.int64]
    component_of: NDArray[np.int64]
    boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)

    def sums(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the sum of `values` (float32 [h, w]) over each component: float64 [N]."""
        before = np.zeros((self.shape[0], self.shape[1] + 1))
        np.cumsum(values, axis=1, dtype=np.float64, out=before[:, 1:])
        row, start, end = self.runs.T
        summed: NDArray[np.float64] = np.bincount(
            self.component_of, before[row, end] - before[row, start], minlength=len(self)
        ).astype(np.float64, copy=False)
        return summed

    def paint(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask, bool [h, w], of the components that are selected by `kept`, bool [N]."""
        steps = np.zeros((self.shape[0], self.shape[1] + 1), np.int8)
        row, start, end = self.runs[kept[self.component_of]].T
        steps[row, start] = 1
        steps[row, end] = -1  # there is a gap between two runs, so no two steps are at the same pixel
        return np.cumsum(steps[:, :-1], axis=1, dtype=np.int8).astype(np.bool_)


def label(mask: NDArray[np.bool_]) -> Components:
    """Find the components of `mask`, bool [h, w]."""
    height, width = mask.shape
    # Each row gets an empty column at its end, so that no run of the flat picture continues in the next row.
    line = width + 1
    flat = np.zeros(height * line + 1, np.int8)
    flat[1:].reshape(height, line)[:, :width] = mask
    steps = np.diff(flat)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)  # both int64 [R]
    # Run i touches the runs of the next row that begin at its end or before, and end at its start or after.
    first, last = np.searchsorted(ends, starts + line), np.searchsorted(starts, ends + line, "right")
    touching = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(starts)), touching)
    below = np.arange(len(above)) - np.repeat(np.cumsum(touching) - touching, touching) + np.repeat(first, touching)
    roots = _connected(len(starts), above, below)
    component_of = (np.cumsum(roots == np.arange(len(roots))) - 1)[roots]
    row = starts // line
    runs = np.stack([row, starts - row * line, ends - row * line], axis=1)
    return Components((height, width), runs, component_of, _boxes(runs, component_of))


def _connected(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the smallest node that is connected to each of `count` nodes: int64 [count].

    Args:
        count: The number of nodes.
        one: int64 [E], one end of each edge.
        other: int64 [E], the other end.
    """
    parent = np.arange(count)
    while True:
        a, b = parent[one], parent[other]
        apart = a != b
        if not apart.any():
            return parent
        a, b = a[apart], b[apart]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while True:  # point each node to the root of its tree; the trees are only a few levels deep
            grand = parent[parent]
            if np.array_equal(grand, parent):
                break
            parent = grand


def _boxes(runs: NDArray[np.int64], component_of: NDArray[np.int64]) -> NDArray[np.int64]:
    count = int(component_of.max(initial=-1)) + 1
    boxes = np.tile(np.array([[np.iinfo(np.int64).max] * 2 + [0] * 2]), (count, 1))
    row, start, end = runs.T
    np.minimum.at(boxes[:, 0], component_of, row)
    np.minimum.at(boxes[:, 1], component_of, start)
    np.maximum.at(boxes[:, 2], component_of, row + 1)
    np.maximum.at(boxes[:, 3], component_of, end)
    return boxes
