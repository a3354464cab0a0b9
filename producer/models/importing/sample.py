"""Classifies a sample image after an import: right labels show that the preprocessing is that of the training."""

from importlib.resources import as_file, files
from pathlib import Path

from pigeonhole.errors import ImageError, TrainingError
from pigeonhole.imaging import preprocess
from pigeonhole.limits import PPM
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from producer.models.importing import class_names

TOP = 5
#: The sample image for models with ImageNet's classes, and its content.
BUILT_IN, SHOWS = "espresso.jpg", "a cup of espresso"


def line(model: Path, picture: Path | None, settings: Settings) -> str | None:
    """Return the five most probable classes of an image, as one line.

    Args:
        model: The model file.
        picture: Path of an image; None: the built-in sample, for models with ImageNet's classes only.
        settings: The runtime, and the limit on pixels.

    Returns:
        The line; None if there is no image.

    Raises:
        TrainingError: The image can't be read.
    """
    classifier = Classifier.load(model, settings)
    if picture is not None:
        return f"{picture}: {_best(classifier, picture, settings.max_pixels)}"
    if not set(class_names.imagenet()) <= set(classifier.checkpoint.classes):
        return None
    with as_file(files("producer.models").joinpath(f"assets/{BUILT_IN}")) as file:
        return f"sample ({SHOWS}): {_best(classifier, file, settings.max_pixels)}"


def _best(classifier: Classifier, picture: Path, max_pixels: int) -> str:
    about = classifier.checkpoint
    try:
        pixels = preprocess.prepare(picture.read_bytes(), about.preprocessing, max_pixels)
    except OSError as exc:
        raise TrainingError(f"{picture}: can't be read ({exc.strerror or exc}); check --sample.") from exc
    except ImageError as exc:
        raise TrainingError(f"{picture}: {exc}; choose another --sample.") from exc
    found = classifier.predict(pixels[None], TOP)
    pairs = zip(found.best[0].tolist(), found.ppm[0].tolist(), strict=True)
    return ", ".join(f"{about.classes[best]} {ppm / PPM:.1%}" for best, ppm in pairs)
