"""References → answers: read, decode, bring into form, run the network. There is no queue and no ledger here.

A batch goes through in chunks, bounded in images, bytes and time. Where reading waits for a disk, or the network runs
on another device, the next chunk is read by a thread while the network has this one. Each image stands for itself:
what goes wrong with one becomes its error row.
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
from pigeonhole.ledger.messages import Answers, Batch
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Identity, Location
from worker.collected import Collected
from worker.devices.protocol import DeviceLost
from worker.folders import ABSENT, Folders
from worker.metrics import Counts

logger = logging.getLogger(__name__)

#: Reading that takes more than this many times its processor time waits for something else than a processor.
_WAITING = 3.0
#: A chunk ends once its decoded images take more bytes than this: 256 photos that JPEG shrank for 224 pixels do not.
_CHUNK_BYTES = 200_000_000
#: And after this share of `PIGEONHOLE_BATCH_SECONDS`, or slow files would take the time of a batch in its first chunk.
_CHUNK_SHARE = 0.1
#: A network on a CPU takes images of at most these bytes at once, since its layers take a hundred times as much: 26
#: images of 224 x 224 in colour. 256 digits are less.
_INPUT_BYTES = 4_000_000


@dataclass
class _Chunk:
    """Some images of a batch, as the network takes them.

    Args:
        at: the positions in the batch of those that could be read.
        pixels: these, uint8 [n, height, width, channels].
        identities: of the files that were read, those of error rows among them, by position.
        errors: position → (kind, message) of the others.
    """

    at: NDArray[np.intp]
    pixels: NDArray[np.uint8]
    identities: dict[int, Identity]
    errors: dict[int, tuple[str, str]]

    def __len__(self) -> int:
        return len(self.at) + len(self.errors)


class Pipeline:
    """What classifies batches in one process.

    Args:
        settings: the worker's.
        classifier: loaded and warm.
        counts: what the stages `read` and `forward` are timed by.
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
        # One thread: the chunk after the one that the network has is being read, no more.
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._waits = False  # whether reading the last chunk was waiting, for the most part

    def classify(self, batch: Batch, seconds: float = math.inf) -> Answers:
        """Return one answer for each reference of a batch, in its order.

        Args:
            batch: the references.
            seconds: after which no chunk is begun any more: then the last references have no answers. They count from
                the end of reading the first chunk, for which an archive may have to be inflated up to its images.

        Raises:
            FolderGone: images are absent, and so is the folder that they were in, or another is in its place.
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
            # Where a processor has all of the work, a second thread only gets in the way of the first: each waits for
            # the interpreter, and with a process for each processor that costs a tenth.
            idle = self._waits or self._classifier.runtime.device != "cpu"
            pending = self._ahead.submit(read) if idle and time.monotonic() < end else None
            yield chunk
            done += len(chunk)
            # A part of a single image would be one that is quarantined.
            if pending is None and time.monotonic() >= end and 2 <= done <= len(batch) - 2:
                return
            chunk = pending.result() if pending else read()

    def _read(self, references: Iterator[tuple[int, Location]]) -> _Chunk | None:
        """Read the images of the next chunk, by their positions; None: there are no more."""
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
            except Exception as exc:  # whatever a decoder does with one image, the others keep their rows
                logger.exception("%.300r: the decoder failed in a way that is not foreseen", location)
                errors[position] = ErrorKind.INTERNAL, f"{type(exc).__name__}: {exc}"
            else:
                size += memory_of(decoded[-1])
            now = time.monotonic()
            if size > _CHUNK_BYTES or now >= end:
                break
            end = min(end, now + self._chunk_seconds)  # from the first image on: an archive is inflated for that
        self.reader.close()
        self._folders.check(absent)
        pixels, wrong = self._formed(decoded)
        errors.update((at[number], (error.kind, error.message)) for number, error in wrong.items())
        return _Chunk(np.delete(np.array(at, np.intp), list(wrong)), pixels, identities, errors)

    def _formed(self, images: list[Decoded]) -> tuple[NDArray[np.uint8], dict[int, ImageError]]:
        """Bring images into form, as `apply_all` does; what goes wrong with one leaves the others as they are."""
        try:
            return self.reader.preprocessing.apply_all(images)
        except Exception as exc:
            if len(images) > 1:
                each = [self._formed([image]) for image in images]
                errors = {at: error for at, (_, wrong) in enumerate(each) for error in wrong.values()}
                return np.concatenate([pixels for pixels, _ in each]), errors
            nothing, _ = self.reader.preprocessing.apply_all([])
            if isinstance(exc, MemoryError):
                return nothing, {
                    0: ImageError(ErrorKind.TOO_LARGE, "not enough memory to resize it; fewer processes leave more")
                }
            logger.exception("an image can't be brought into form, in a way that is not foreseen")
            return nothing, {0: ImageError(ErrorKind.INTERNAL, f"{type(exc).__name__}: {exc}")}

    def _predict(self, collected: Collected, at: NDArray[np.intp], pixels: NDArray[np.uint8]) -> None:
        """Run images through the network: all at once or, where that takes more memory than there is, by halves."""
        if not len(pixels):
            return
        try:
            with self._counts.stage("forward"):
                scores = self._classifier.predict(pixels, collected.top)
        except DeviceLost:
            raise  # no image is to blame
        except Exception as exc:  # each runtime has its own
            if len(pixels) == 1 or not isinstance(exc, MemoryError):
                logger.exception("the network failed on a chunk of %d images", len(pixels))
                for position in at.tolist():
                    collected.fail(position, _failed(exc))
                return
        else:
            collected.score(at, scores)
            return
        # Out here, where the exception and all that its frames held are gone.
        half = len(pixels) // 2
        logger.warning(
            "no memory for %d images at once, trying %d; a smaller PIGEONHOLE_CHUNK saves that", 2 * half, half
        )
        self._predict(collected, at[:half], pixels[:half])
        self._predict(collected, at[half:], pixels[half:])


def _failed(exc: Exception) -> tuple[str, str]:
    if isinstance(exc, MemoryError):
        return (
            ErrorKind.INTERNAL,
            "there is not enough memory to run the network on this image; fewer processes leave more",
        )
    return ErrorKind.INTERNAL, f"the network failed: {type(exc).__name__}: {exc}"
