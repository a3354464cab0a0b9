"""The pool of synthetic images for networks of digits, made once from the training images and fonts."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pigeonhole.errors import DatasetError, TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from training.datasets.splits import MNIST_CLASSES, Split
from training.processes import available, spread
from training.synthetic import chunks
from training.synthetic.chunks import Chunk, Maker
from training.synthetic.kinds import KINDS, OUTLIER, PRINTED, allot
from training.synthetic.raster import SIDE

OTHER = len(MNIST_CLASSES)  # label of an outlier: "unknown"

_CHUNK = 125  # pictures, a tenth of a second of work: visible progress, and Ctrl-C waits for a few chunks at most
_ALONE = 1000  # pictures: one process makes fewer faster than others start


def make(
    training: Split,
    count: int,
    outliers: float,
    seed: int,
    preprocessing: Preprocessing,
    fonts: Sequence[Path] = (),
    processes: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Split:
    """Make synthetic pictures of digits, and outliers.

    They imitate pictures of a camera, a scanner or a canvas, and are preprocessed as in a worker. The same arguments
    give the same pool, bit for bit, with any number of processes.

    Args:
        training: Digits in MNIST's form: uint8 [N, 28, 28, 1], labels 0 to 9.
        count: Number of pictures.
        outliers: Share of the pictures that are not one digit; their label is `OTHER`.
        seed: Seed of all random draws.
        preprocessing: Preprocessing of every picture.
        fonts: Font files for printed digits (`printed.find_fonts`); if there are none, written digits replace these.
        processes: Number of processes; None for one for each available core.
        on_progress: Called with the number of pictures made and `count`.

    Returns:
        uint8 [count, height, width, channels] and int64 [count], in random order.

    Raises:
        DatasetError: The training images aren't 28 x 28 x 1, there are none, or they are blank; a font can't be read.
        TrainingError: A process was killed.
    """
    if not len(training) or training.images.shape[1:] != (SIDE, SIDE, 1):
        raise DatasetError(
            f"Synthetic digits are made from images of {SIDE} x {SIDE} x 1, not "
            f"{' x '.join(map(str, training.images.shape))}; leave them out with --no-synthetic."
        )
    images, labels = training.images[..., 0].cpu().numpy(), training.labels.cpu().numpy()
    arguments = (images, labels, OTHER, preprocessing, tuple(fonts))
    parts: list[tuple[NDArray[np.uint8], NDArray[np.int64]]] = []
    done = 0
    plan = list(_plan(count, outliers, seed, bool(fonts)))
    with closing(_made(plan, arguments, processes)) as made:  # an interrupt ends the processes at once
        for part in made:
            parts.append(part)
            done += len(part[1])
            if on_progress:
                on_progress(done, count)
    order = np.random.default_rng(seed).permutation(count)
    shape = (0, preprocessing.height, preprocessing.width, preprocessing.channels)
    pixels = np.concatenate([np.empty(shape, np.uint8), *(part[0] for part in parts)])
    of = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    return Split(torch.from_numpy(pixels[order]), torch.from_numpy(of[order]))


def _plan(count: int, outliers: float, seed: int, with_fonts: bool) -> Iterator[Chunk]:
    """Yield the chunks of a pool; each kind has its share, and a chunk has one kind."""
    outlier_count = round(count * outliers)
    number = 0
    for total, sources in ((count - outlier_count, False), (outlier_count, True)):
        members = [
            at
            for at, kind in enumerate(KINDS)
            if (kind.source == OUTLIER) == sources and (with_fonts or kind.source != PRINTED)
        ]
        for at, many in zip(members, allot(total, [KINDS[at] for at in members]), strict=True):
            for start in range(0, many, _CHUNK):
                yield Chunk(seed, number, at, min(_CHUNK, many - start))
                number += 1


def _made(
    plan: Sequence[Chunk], arguments: tuple[object, ...], processes: int | None
) -> Generator[tuple[NDArray[np.uint8], NDArray[np.int64]], None, None]:
    """Yield the pictures and labels of the chunks in order, made by this process or by several."""
    processes = processes or available()
    if processes == 1 or sum(chunk.count for chunk in plan) <= _ALONE:
        maker = Maker(*arguments)  # type: ignore[arg-type]
        yield from map(maker.make, plan)
        return
    try:
        yield from spread(chunks.make, plan, chunks.prepare, arguments, processes)
    except BrokenProcessPool as exc:
        raise TrainingError(
            "A process that made synthetic images was killed. Free some memory, or use --no-synthetic."
        ) from exc
