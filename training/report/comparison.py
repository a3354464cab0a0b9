"""The report page of a comparison: the figures of two checkpoints, and their disagreements."""

from html import escape
from pathlib import Path

from training.evaluation.compared import LETTERS, Compared
from training.report import markup, text

SHEET = 100  # disagreements with their images


def write(folder: Path, compared: Compared) -> Path:
    """Write the page.

    Args:
        folder: Folder that `markup.make_folder` made; a report in it is replaced.
        compared: Comparison that the page shows.

    Returns:
        Path of the page.

    Raises:
        TrainingError: The page can't be written.
    """
    try:
        (folder / markup.PAGE).write_bytes(_page(compared))
    except OSError as exc:
        raise markup.unwritable(folder, exc) from exc
    return folder / markup.PAGE


def _page(compared: Compared) -> bytes:
    first = compared.pair[0]
    names = [each.checkpoint.identity() for each in compared.pair]
    tiles = []
    for letter, each in zip(LETTERS, compared.pair, strict=True):
        low, high = each.report.interval
        tiles.append(
            (f"{each.report.accuracy:.2%}", f"right by {letter}; 95% interval {100 * low:.2f} to {100 * high:.2f}%")
        )
    tiles += [
        (f"{compared.only[0]:,}", "only A has right"),
        (f"{compared.only[1]:,}", "only B has right"),
        (f"{compared.both:,}", "both have right"),
        (f"{compared.neither:,}", "neither has right"),
    ]
    cards = [markup.card("By class", _classes(compared), whole=True)]
    if compared.disagreements:
        cards.append(markup.card("Where they disagree", _disagreements(compared), whole=True))
    title = f"A ({names[0]}) and B ({names[1]}): {text.verdict(compared)}"
    failed = f"; {len(compared.failed):,} files could not be read" if compared.failed else ""
    about = "; ".join([f"{first.report.images:,} images: {first.source}{failed}", *compared.notes])
    facts = "".join(markup.facts(each.checkpoint, letter) for letter, each in zip(LETTERS, compared.pair, strict=True))
    return markup.document(title, about, f'{markup.tiles(tiles)}{facts}<main class="cards">\n{"".join(cards)}</main>\n')


def _classes(compared: Compared) -> str:
    rows = []
    for index, name in enumerate(compared.classes):
        first, second = (each.report.confusion[index] for each in compared.pair)
        rows.append((name, [f"{sum(first):,}", *(f"{sum(row) - row[index]:,}" for row in (first, second))]))
    return markup.table("class", ["images", "A wrong", "B wrong"], rows)


def _disagreements(compared: Compared) -> str:
    first, second = compared.pair
    same = first.checkpoint.preprocessing == second.checkpoint.preprocessing
    shown = []
    for index in compared.disagreements[:SHEET]:
        views = "".join(markup.image(each.images[index]) for each in compared.pair[: 1 if same else 2])
        captions = "<br>".join(
            f"{letter}: <bdi>{escape(predicted)}</bdi>, {each.report.after.confidence[index]:.2%}"
            for letter, predicted, each in zip(LETTERS, compared.predicted(index), compared.pair, strict=True)
        )
        shown.append(
            f"<figure>{views}<figcaption><b><bdi>{escape(compared.truth(index))}</bdi></b>{captions}"
            f"<br><bdi>{escape(first.names[index])}</bdi></figcaption></figure>"
        )
    note = "The true label, and the labels of A and B with their confidence; the most confident mistake first"
    note += (
        ". " if len(shown) == len(compared.disagreements) else f"; {len(shown)} of {len(compared.disagreements):,}. "
    )
    note += "The image as both networks get it." if same else "The image as A gets it, and as B does."
    return f'<p>{note}</p><div class="sheet">{"".join(shown)}</div>'
