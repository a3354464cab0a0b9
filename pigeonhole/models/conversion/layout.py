"""How a graph of unknown origin takes images: the order of its dimensions, its size, its channels."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from onnx import ValueInfoProto

from pigeonhole.errors import CheckpointError

SIDE = 224  # pixels, of a graph that takes any size, where nothing else is asked for
_MAX_SIDE = 4096  # pixels; as of `pigeonhole.imaging.preprocessing`


class Layout(StrEnum):
    """The order of the dimensions: channels before or after the place in the image."""

    NCHW = "NCHW"
    NHWC = "NHWC"


@dataclass(frozen=True)
class Placement:
    """One way to feed a graph.

    Args:
        layout: The order of its dimensions.
        height: In pixels.
        width: In pixels.
        channels: 1 or 3.
        batch: The images that it takes at once; None: any number.
    """

    layout: Layout
    height: int
    width: int
    channels: int
    batch: int | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels


def dimensions(value: ValueInfoProto) -> list[int | None]:
    """Return the four dimensions of an input; None for one that may be anything."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return [None] * 4
    return [each.dim_value if each.HasField("dim_value") and each.dim_value > 0 else None for each in kind.shape.dim]


def placements(value: ValueInfoProto, size: tuple[int, int] | None) -> list[Placement]:
    """Return the ways to feed a graph that its input allows, the likeliest first; a trial decides among them.

    Args:
        value: The input.
        size: Height and width for a graph that takes any; None: 224 x 224.

    Raises:
        CheckpointError: The input is no batch of images in grey or in red, green and blue.
    """
    found = list(_placements(dimensions(value), size or (SIDE, SIDE)))
    if not found:
        text = " x ".join("?" if each is None else str(each) for each in dimensions(value))
        raise CheckpointError(
            f"Its input is {text}; a batch of images is N x C x H x W or N x H x W x C, with 1 or 3 channels."
        )
    if max(found[0].height, found[0].width) > _MAX_SIDE:
        raise CheckpointError(
            f"Its input is of {found[0].width} x {found[0].height} pixels, and {_MAX_SIDE} a side are the most."
        )
    if size is not None and (found[0].height, found[0].width) != size:
        raise CheckpointError(
            f"Its input is of {found[0].width} x {found[0].height} pixels, and --preprocess asks for "
            f"{size[1]} x {size[0]}; leave height and width out there."
        )
    return found


def _placements(dims: list[int | None], size: tuple[int, int]) -> Iterator[Placement]:
    batch = dims[0]
    by_layout = {Layout.NCHW: (dims[1], dims[2], dims[3]), Layout.NHWC: (dims[3], dims[1], dims[2])}
    # A layout whose channels are said comes before one whose channels may be anything.
    for said in (True, False):
        for layout, (channels, height, width) in by_layout.items():
            for count in (3, 1):
                if channels == count if said else channels is None:
                    yield Placement(layout, height or size[0], width or size[1], count, batch)
