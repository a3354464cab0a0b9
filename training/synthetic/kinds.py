"""The kinds of pictures in the pool, and the share of each: the place to tune the pool.

Shares are relative, within the digits and within the outliers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from training.synthetic import corruptions, degradations, outliers, scenes, textures
from training.synthetic.raster import Draw

WRITTEN, DRAWN, PRINTED, OUTLIER = "written", "drawn", "printed", "outlier"


@dataclass(frozen=True)
class Kind:
    """One kind of picture.

    Args:
        source: "written" for a digit of the training images, "drawn" for a digit drawn stroke by stroke, "printed" for
            a digit of a font, "outlier" for a picture that is not one digit.
        share: Relative share of the digits, or of the outliers.
        draw: Function that makes the pictures; its name is the kind's.
        likeness: Largest likeness (`training.synthetic.likeness`) of an outlier; one with more is drawn again.
    """

    source: str
    share: float
    draw: Draw
    likeness: float = 0.03

    @property
    def name(self) -> str:
        """Return the name for the contact sheet and the docs: "shot noise"."""
        return self.draw.__name__.replace("_", " ")


# Likeness compares blurred pictures, so kinds without strokes get a high one though no person would see a digit.
_PLAIN, _FILLED = 0.15, 0.5

KINDS = (
    # The 16 corruptions of MNIST-C.
    Kind(WRITTEN, 1.0, corruptions.identity),
    Kind(WRITTEN, 2.0, corruptions.shot_noise),
    Kind(WRITTEN, 3.0, corruptions.impulse_noise),
    Kind(WRITTEN, 2.5, corruptions.glass_blur),
    Kind(WRITTEN, 2.0, corruptions.motion_blur),
    Kind(WRITTEN, 1.5, corruptions.shear),
    Kind(WRITTEN, 1.5, corruptions.scale),
    Kind(WRITTEN, 2.0, corruptions.rotate),
    Kind(WRITTEN, 1.0, corruptions.brightness),
    Kind(WRITTEN, 1.5, corruptions.translate),
    Kind(WRITTEN, 3.0, corruptions.stripe),
    Kind(WRITTEN, 3.0, corruptions.fog),
    Kind(WRITTEN, 2.5, corruptions.spatter),
    Kind(WRITTEN, 2.5, corruptions.dotted_line),
    Kind(WRITTEN, 4.0, corruptions.zigzag),
    Kind(WRITTEN, 4.0, corruptions.canny_edges),
    # Other pens, poorer pictures.
    Kind(WRITTEN, 3.0, degradations.stroke_width),
    Kind(WRITTEN, 1.0, degradations.binarised),
    Kind(WRITTEN, 5.0, degradations.bitmap),
    Kind(WRITTEN, 5.0, degradations.low_resolution),
    Kind(WRITTEN, 1.0, degradations.pixelated),
    Kind(WRITTEN, 1.0, degradations.jpeg),
    Kind(WRITTEN, 1.0, degradations.gaussian_blur),
    Kind(WRITTEN, 1.5, degradations.gaussian_noise),
    Kind(WRITTEN, 1.0, degradations.contrast),
    Kind(WRITTEN, 1.0, degradations.hidden_patch),
    Kind(WRITTEN, 1.0, degradations.erased_line),
    Kind(WRITTEN, 1.0, degradations.worn),
    # Scenes.
    Kind(WRITTEN, 7.0, scenes.photo),
    Kind(WRITTEN, 5.0, scenes.canvas),
    Kind(WRITTEN, 4.0, scenes.cell),
    Kind(WRITTEN, 2.0, scenes.ruled),
    Kind(DRAWN, 3.0, scenes.drawn_canvas),
    Kind(DRAWN, 2.0, scenes.drawn_photo),
    Kind(PRINTED, 4.0, scenes.printed),
    Kind(PRINTED, 6.0, scenes.printed_cell),
    Kind(PRINTED, 3.0, scenes.printed_photo),
    # Not one digit.
    Kind(OUTLIER, 4.0, outliers.scribble),
    Kind(OUTLIER, 3.0, outliers.hatching, _PLAIN),
    Kind(OUTLIER, 7.0, outliers.curves),
    Kind(OUTLIER, 5.0, outliers.polyline),
    Kind(OUTLIER, 16.0, outliers.sign, 0.1),
    Kind(OUTLIER, 4.0, outliers.rays, _PLAIN),
    Kind(OUTLIER, 3.0, outliers.parallels, _PLAIN),
    Kind(OUTLIER, 2.0, outliers.spiral, _FILLED),
    Kind(OUTLIER, 4.0, outliers.outline, _PLAIN),
    Kind(OUTLIER, 2.0, outliers.dots),
    Kind(OUTLIER, 3.0, outliers.overlapping, 0.05),
    Kind(OUTLIER, 8.0, outliers.jigsaw),
    Kind(OUTLIER, 8.0, outliers.row, _FILLED),
    Kind(OUTLIER, 8.0, outliers.accompanied, _FILLED),
    Kind(OUTLIER, 6.0, outliers.symmetric, _FILLED),
    Kind(OUTLIER, 2.0, outliers.turned_digit),
    Kind(OUTLIER, 5.0, textures.noise, _FILLED),
    Kind(OUTLIER, 4.0, textures.spots, _FILLED),
    Kind(OUTLIER, 4.0, textures.waves, _FILLED),
    Kind(OUTLIER, 2.0, textures.gradients, _PLAIN),
    Kind(OUTLIER, 9.0, textures.silhouettes, _FILLED),
    Kind(OUTLIER, 5.0, textures.shapes, _FILLED),
    Kind(OUTLIER, 4.0, textures.dead_leaves, _FILLED),
)


def allot(count: int, among: Sequence[Kind]) -> list[int]:
    """Divide `count` among the kinds by their shares, in whole numbers that add up to it (largest remainders)."""
    shares = [Fraction(kind.share) for kind in among]
    exact = [share * count / sum(shares) for share in shares]
    counts = [int(part) for part in exact]
    by_remainder = sorted(range(len(among)), key=lambda at: counts[at] - exact[at])
    for at in by_remainder[: count - sum(counts)]:
        counts[at] += 1
    return counts
