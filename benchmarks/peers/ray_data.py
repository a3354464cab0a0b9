"""Ray Data's `map_batches` with a pool of two actors, as in its guide to batch inference; Pillow inside the actor.

Ray Data starts a pool of actors for each execution, so the actors can't be ready before. This would cost it a few
seconds in each round. So each round begins with the warm-up in the same execution, and the time is measured from the
warm-up's last row. The table has both figures.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.machine import PROCESSES, ROOT
from benchmarks.common.measure import Clock, Images
from benchmarks.peers.eager import Eager

SIZE = 1024
SETTINGS = (
    f"`ray.init(num_cpus=2)`, no dashboard; `from_items` of the paths, `map_batches` with `ActorPoolStrategy(size=2)`, "
    f"`batch_size={SIZE}` (faster here than 256), Pillow in the actor. Images that its actors have begun at the end of "
    "the warm-up are counted in its favour"
)


class Predictor:
    """An actor with the model, which is loaded once."""

    def __init__(self) -> None:
        self.model = Eager("digits")

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Classify a batch."""
        return {"number": batch["number"], "label": np.array(self.model.classify(batch["path"].tolist()))}


class RayData:
    """Ray Data on a local Ray.

    Args:
        warm_up: the first images of each run.
        size: the number of images in a batch.
        predictor: the class of an actor; in `done` it may return the time of each image, by `time.perf_counter`.
        arguments: the arguments of that class.
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
        """Classify the warm-up, and then the images."""
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
        if done:  # more exact, because rows arrive in bursts
            clock.restart(sorted(done)[len(self._warm_up) - 1])
        return labels[len(self._warm_up) :]

    def stop(self) -> None:
        """Stop Ray."""
        stop()


def start() -> None:
    """Start Ray on two processors, without logs and progress bars."""
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
