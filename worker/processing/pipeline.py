"""References → results: read, decode, preprocess, run the network. Knows neither the queue nor the ledger.

A batch is processed in chunks, which are bounded in images, bytes and time. If reading waits for a disk, or the network
runs on another device, a thread reads the next chunk meanwhile. An image that fails becomes an error row and does not
affect the others.
"""

import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.imaging.decode import memory_of
from pigeonhole.imaging.preprocess import Decoded
from pigeonhole.imaging.reader import ImageReader
from pigeonhole.ledger.wire.messages import Answers, Batch
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Identity, Location
from worker.devices.protocol import DeviceLost
from worker.monitoring.metrics import Counts
from worker.processing.collected import Collected
from worker.processing.folders import ABSENT, Folders

logger = logging.getLogger(__name__)

#: Reading that takes more than this multiple of its processor time waits for a disk or a network.
_WAITING = 3.0
#: A chunk ends once its decoded images take more bytes than this; 256 photos shrunk for 224 pixels take less.
_CHUNK_BYTES = 200_000_000
#: A chunk also ends after this share of `PIGEONHOLE_BATCH_SECONDS`, so that slow files can't use up a batch's time.
_CHUNK_SHARE = 0.1
#: The most bytes of images that a network on a CPU takes at once, since its layers take a hundred times as much: 26
#: colour images of 224 x 224. 256 digits are less.
_INPUT_BYTES = 4_000_000


@dataclass
class _Chunk:
    """Some preprocessed images of a batch.

    Args:
        at: positions in the batch of the images that could be read.
        pixels: the input of the network for them, uint8 [n, height, width, channels].
        identities: position → identity of each file that was read, even if it then became an error row.
        errors: position → (kind, message) of each image that failed.
    """

    at: NDArray[np.intp]
    pixels: NDArray[np.uint8]
    identities: dict[int, Identity]
    errors: dict[int, tuple[str, str]]

    def __len__(self) -> int:
        return len(self.at) + len(self.errors)


class Pipeline:
    """Classifies batches in one process.

    Args:
        settings: the worker's.
        classifier: the loaded model, warmed up.
        counts: times the stages `read` and `forward`; None: nothing is timed.
    """

    def __init__(self, settings: Settings, classifier: Classifier, counts: Counts | None = None) -> None:
        self._counts = counts or Counts()
        self._classifier = classifier
        self._chunk = self._at_once = settings.chunk
        if classifier.runtime.device == "cpu":
            bytes_each = math.prod(classifier.checkpoint.preprocessing.shape)
            self._at_once = max(1, min(self._chunk, _INPUT_BYTES // bytes_each))
        self._chunk_seconds = _CHUNK_SHARE * settings.batch_seconds
        self.reader = ImageReader(
            settings.image_root, classifier.checkpoint.preprocessing, settings.max_bytes, settings.max_pixels
        )
        self._folders = Folders(settings.image_root)
        # One thread, because only the next chunk is read ahead.
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._waits = False  # whether reading the last chunk mostly waited

    def classify(self, batch: Batch, seconds: float = math.inf) -> Answers:
        """Return the results of a batch, in the order of its references.

        Args:
            batch: the references.
            seconds: the time after which no chunk is started; the last references then have no results. It starts
                once the first chunk is read, since an archive may have to be decompressed up to its first image.

        Raises:
            FolderGone: images are absent because their folder is gone or was exchanged.
        """
        collected, images = Collected(self._classifier, len(batch), batch.top), 0
        for chunk in self._chunks(batch, seconds):
            images += len(chunk)
            collected.identify(chunk.identities)
            for position, error in chunk.errors.items():
                collected.fail(position, error)
            for start in range(0, len(chunk.at), self._at_once):
                part = slice(start, start + self._at_once)
                self._predict(collected, chunk.at[part], chunk.pixels[part])
        return collected.answers(images)

    def _chunks(self, batch: Batch, seconds: float) -> Iterator[_Chunk]:
        references = enumerate(batch.located())

        def read() -> _Chunk | None:
            return self._read(references)

        chunk, done = read(), 0
        end = time.monotonic() + seconds
        while chunk is not None:
            # If both need a processor, a second thread costs a tenth of the speed: both wait for the interpreter.
            idle = self._waits or self._classifier.runtime.device != "cpu"
            pending = self._ahead.submit(read) if idle and time.monotonic() < end else None
            yield chunk
            done += len(chunk)
            # No part of a single image: a piece of one image counts as quarantined.
            if pending is None and time.monotonic() >= end and 2 <= done <= len(batch) - 2:
                return
            chunk = pending.result() if pending else read()

    def _read(self, references: Iterator[tuple[int, Location]]) -> _Chunk | None:
        """Read the next chunk; return None if there are no more images.

        Args:
            references: (position, location) of the images that are not read yet.
        """
        first = next(references, None)
        if first is None:
            return None
        begun, worked = time.perf_counter(), time.thread_time()
        with self._counts.stage("read"):
            chunk = self._read_chunk(chain((first,), references))
        self._waits = time.perf_counter() - begun > _WAITING * (time.thread_time() - worked)
        return chunk

    def _read_chunk(self, references: Iterator[tuple[int, Location]]) -> _Chunk:
        errors, identities = dict[int, tuple[str, str]](), dict[int, Identity]()
        at, decoded, size, absent = list[int](), list[Decoded](), 0, dict[str, int]()
        end = math.inf
        for position, location in islice(references, self._chunk):
            try:
                data, identities[position] = self.reader.read(location)
                self._folders.note(location.file)
                decoded.append(self.reader.decode(data))
                at.append(position)
            except ImageError as exc:
                errors[position] = exc.kind, exc.message
                cause = exc.__cause__
                if isinstance(cause, OSError) and cause.errno in ABSENT:
                    absent[location.file] = cause.errno
            except Exception as exc:  # a decoder's failure must not affect the other images
                logger.exception("%.300r: unexpected failure of the decoder", location)
                errors[position] = ErrorKind.INTERNAL, f"{type(exc).__name__}: {exc}"
            else:
                size += memory_of(decoded[-1])
            now = time.monotonic()
            if size > _CHUNK_BYTES or now >= end:
                break
            end = min(end, now + self._chunk_seconds)  # starts after the first image, whose archive is decompressed
        self.reader.close()
        self._folders.check(absent)
        pixels, wrong = self._preprocess(decoded)
        errors.update((at[number], (error.kind, error.message)) for number, error in wrong.items())
        return _Chunk(np.delete(np.array(at, np.intp), list(wrong)), pixels, identities, errors)

    def _preprocess(self, images: list[Decoded]) -> tuple[NDArray[np.uint8], dict[int, ImageError]]:
        """Preprocess images as `apply_all` does; if that fails, one by one, so that an error affects one image only."""
        try:
            return self.reader.preprocessing.apply_all(images)
        except Exception as exc:
            if len(images) > 1:
                each = [self._preprocess([image]) for image in images]
                errors = {at: error for at, (_, wrong) in enumerate(each) for error in wrong.values()}
                return np.concatenate([pixels for pixels, _ in each]), errors
            nothing, _ = self.reader.preprocessing.apply_all([])
            if isinstance(exc, MemoryError):
                return nothing, {
                    0: ImageError(ErrorKind.TOO_LARGE, "not enough memory to resize it; start fewer processes")
                }
            logger.exception("unexpected failure of the preprocessing")
            return nothing, {0: ImageError(ErrorKind.INTERNAL, f"{type(exc).__name__}: {exc}")}

    def _predict(self, collected: Collected, at: NDArray[np.intp], pixels: NDArray[np.uint8]) -> None:
        """Run images through the network: all at once or, if there is not enough memory, in halves."""
        if not len(pixels):
            return
        try:
            with self._counts.stage("forward"):
                scores = self._classifier.predict(pixels, collected.top)
        except DeviceLost:
            raise  # not the fault of an image
        except Exception as exc:  # each runtime has its own errors
            if len(pixels) == 1 or not isinstance(exc, MemoryError):
                logger.exception("the network failed on a chunk of %d images", len(pixels))
                for position in at.tolist():
                    collected.fail(position, _failed(exc))
                return
        else:
            collected.score(at, scores)
            return
        # Outside the `except` block, so that the memory which the exception's frames hold is free.
        half = len(pixels) // 2
        logger.warning(
            "not enough memory for %d images at once, trying %d; lower PIGEONHOLE_CHUNK to avoid this", 2 * half, half
        )
        self._predict(collected, at[:half], pixels[:half])
        self._predict(collected, at[half:], pixels[half:])


def _failed(exc: Exception) -> tuple[str, str]:
    if isinstance(exc, MemoryError):
        return (
            ErrorKind.INTERNAL,
            "not enough memory to run the network on this image; start fewer processes",
        )
    return ErrorKind.INTERNAL, f"the network failed: {type(exc).__name__}: {exc}"
