"""Ray Data's `map_batches` with a pool of two actors, after its guide to batch inference; Pillow inside the actor.

Ray Data starts a pool of actors for each execution, so there is no way to have them ready before. That would cost it
some seconds in each round; so each round begins with the warm-up, in the same execution, and its time is taken from
when the warm-up's rows have come out. The table gives both.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import PROCESSES, ROOT
from benchmarks.measure import Clock, Images
from benchmarks.peers.eager import Eager

SIZE = 1024
SETTINGS = (
    f"`ray.init(num_cpus=2)`, no dashboard; `from_items` of the paths, `map_batches` with `ActorPoolStrategy(size=2)`, "
    f"`batch_size={SIZE}` (here it does more with that than with 256), Pillow in the actor; what its actors have in "
    "hand when its warm-up is done is counted for it"
)


class Predictor:
    """What an actor holds: the model, loaded once."""

    def __init__(self) -> None:
        self.model = Eager("digits")

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Classify a batch."""
        return {"number": batch["number"], "label": np.array(self.model.classify(batch["path"].tolist()))}


class RayData:
    """A local Ray.

    Args:
        warm_up: the images that each run begins with.
        size: images in a batch.
        predictor: the class of an actor; its answers may say when each image was done, by `time.perf_counter`.
        arguments: of that class.
    """

    def __init__(
        self, warm_up: Images, size: int = SIZE, predictor: type = Predictor, arguments: Sequence[object] = ()
    ) -> None:
        self._warm_up = warm_up
        self._size = size
        self._predictor, self._arguments = predictor, arguments

    def start(self) -> None:
        """Start Ray."""
        start()

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Classify the warm-up, and then these."""
        import ray

        paths = (*self._warm_up.paths, *images.paths)
        rows = ray.data.from_items([{"number": number, "path": path} for number, path in enumerate(paths)])
        pool = ray.data.ActorPoolStrategy(size=PROCESSES)
        answers = rows.map_batches(
            self._predictor,
            fn_constructor_args=self._arguments,
            batch_size=self._size,
            compute=pool,
            num_cpus=1,
        )
        labels, come, done = [""] * len(paths), 0, list[float]()
        for batch in answers.iter_batches(batch_size=None):
            for number, label in zip(batch["number"].tolist(), batch["label"].tolist(), strict=True):
                labels[number] = label
            before, come = come, come + len(batch["number"])
            if before < len(self._warm_up) <= come:
                clock.restart()
            done += batch.get("done", np.array([])).tolist()
        if done:  # more exact: rows come out in bursts
            clock.restart(sorted(done)[len(self._warm_up) - 1])
        return labels[len(self._warm_up) :]

    def stop(self) -> None:
        """Stop Ray."""
        stop()


def start() -> None:
    """Start Ray on two processors, quietly."""
    import ray

    ray.init(
        num_cpus=PROCESSES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def stop() -> None:
    """Stop Ray."""
    import ray

    ray.shutdown()
