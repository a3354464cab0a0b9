"""The result of one picture, after an import: right names show that the preprocessing is the one of training."""

from importlib.resources import as_file, files
from pathlib import Path

from pigeonhole.errors import ImageError, TrainingError
from pigeonhole.imaging import preprocess
from pigeonhole.limits import PPM
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from producer.models.importing import class_names

TOP = 5
#: The picture for models of ImageNet's classes, and what it shows.
BUILT_IN, SHOWS = "espresso.jpg", "a cup of espresso"


def line(model: Path, picture: Path | None, settings: Settings) -> str | None:
    """Return the five most probable classes of a picture, as one line.

    Args:
        model: The model file.
        picture: A picture; None: the built-in one, for models of ImageNet's classes alone.
        settings: Of the runtime and the most pixels.

    Returns:
        The line; None if there is no picture.

    Raises:
        TrainingError: The picture can't be read.
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
