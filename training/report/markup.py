"""The HTML of the report pages: one self-contained file, without scripts."""

import base64
import hashlib
import io
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from PIL import Image
from torch import Tensor

from pigeonhole.errors import TrainingError
from pigeonhole.filesystem.replacing import GENERATOR, check_own, is_our_page
from pigeonhole.models import description
from pigeonhole.models.checkpoint import Checkpoint

PAGE = "report.html"
#: Names of the plots, whose PNG files are beside the page.
PLOTS = ("curves", "confusion", "reliability", "review", "mistakes")


def make_folder(folder: Path, overwrite: bool = False) -> None:
    """Create the folder of a report, before the work starts.

    Args:
        folder: Path of the folder.
        overwrite: Whether to replace files that no report wrote.

    Raises:
        TrainingError: The folder can't be created.
        UsageError: The folder has a file with the name of a report's file, and no report wrote it.
    """
    page = folder / PAGE
    for file in (page, *(folder / f"{name}.png" for name in PLOTS)):
        check_own(file, lambda _: page.is_file() and is_our_page(page), overwrite, "--report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise unwritable(folder, exc) from exc


def unwritable(folder: Path, exc: OSError) -> TrainingError:
    """Return the error for a folder that the report can't be written to."""
    return TrainingError(f"{folder}: the report can't be written ({exc.strerror or exc}); choose another --report.")


def document(title: str, about: str, content: str) -> bytes:
    """Return a whole page.

    Args:
        title: Title, as text.
        about: Line below the title, as text.
        content: Content, as HTML.
    """
    style = files("training.report").joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{GENERATOR}\n'
        '<meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; style-src 'sha256-{digest}'; img-src data:\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="muted">{escape(about)}</p>\n{content}</body>\n</html>\n'
    )
    # A name may have a lone surrogate, which UTF-8 can't encode.
    return page.encode("utf-8", "replace")


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """Return a list of figures with their descriptions."""
    return (
        '<ul class="tiles">' + "".join(f"<li><b>{value}</b>{escape(what)}</li>" for value, what in values) + "</ul>\n"
    )


def facts(about: Checkpoint, letter: str = "") -> str:
    """Return a list of a checkpoint's properties; the letter is its name on the page."""
    preprocessing, trained = about.preprocessing, about.trained
    values = {
        f"checkpoint {letter}".rstrip(): f"{about.name}, {about.digest[:12]}",
        "network": f"{about.network}: {about.cost.multiply_adds:,} multiply-adds, {about.cost.parameters:,} parameters",
        "input": f"{preprocessing.kind}, {preprocessing.width} x {preprocessing.height} pixels, "
        f"{'grey' if preprocessing.channels == 1 else 'colour'}",
        "temperature": f"{about.calibration.temperature:g}",
        "review": description.review_line(about),
        **{key.replace("_", " "): str(trained[key]) for key in ("dataset", "seed", "finished") if key in trained},
    }
    shown = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in values.items())
    return f'<dl class="card facts">{shown}</dl>\n'


def card(title: str, content: str, whole: bool = False) -> str:
    """Return a section of the page with a title; `whole` makes it as wide as the page."""
    return f'<section class="card{" whole" if whole else ""}"><h2>{escape(title)}</h2>{content}</section>\n'


def table(name: str, numbers: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table.

    Args:
        name: Title of the first column, of names.
        numbers: Titles of the other columns.
        rows: First cell and other cells of each row.
    """

    def line(tag: str, first: str, others: Sequence[str]) -> str:
        cells = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in others)
        return f'<tr><{tag} class="name"><bdi>{escape(first)}</bdi></{tag}>{cells}</tr>'

    body = "".join(line("td", *row) for row in rows)
    return f'<div class="scroll"><table><thead>{line("th", name, numbers)}</thead><tbody>{body}</tbody></table></div>'


def image(pixels: Tensor) -> str:
    """Return an `img` element of uint8 [H, W, C], C 1 or 3."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2).numpy() if pixels.shape[2] == 1 else pixels.numpy()).save(buffer, "PNG")
    return f'<img src="{url(buffer.getvalue())}" alt="">'


def url(png: bytes) -> str:
    """Return a PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
