"""The input of a graph of unknown origin: the order of its dimensions, its size, its channels."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from onnx import ValueInfoProto

from pigeonhole.errors import CheckpointError

SIDE = 224  # pixels, the default for a graph that takes any size
_MAX_SIDE = 4096  # pixels; the same limit as in `pigeonhole.imaging.preprocessing`


class Layout(StrEnum):
    """The order of an input's dimensions: channels before or after height and width."""

    NCHW = "NCHW"
    NHWC = "NHWC"


@dataclass(frozen=True)
class Placement:
    """The form of a graph's input.

    Args:
        layout: The order of the dimensions.
        height: The height of images, in pixels.
        width: The width of images, in pixels.
        channels: The channels of images, 1 or 3.
        batch: The number of images at once; None: any number.
    """

    layout: Layout
    height: int
    width: int
    channels: int
    batch: int | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: height, width and channels."""
        return self.height, self.width, self.channels


def dimensions(value: ValueInfoProto) -> list[int | None]:
    """Return the four dimensions of an input; None stands for a dimension of any length."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return [None] * 4
    return [each.dim_value if each.HasField("dim_value") and each.dim_value > 0 else None for each in kind.shape.dim]


def placements(value: ValueInfoProto, size: tuple[int, int] | None) -> list[Placement]:
    """Return the possible forms of a graph's input, the most likely first; the caller tries them.

    Args:
        value: The input.
        size: Height and width for a graph that takes any size; None: 224 x 224.

    Raises:
        CheckpointError: The input is not a batch of grey or RGB images.
    """
    found = list(_placements(dimensions(value), size or (SIDE, SIDE)))
    if not found:
        text = " x ".join("?" if each is None else str(each) for each in dimensions(value))
        raise CheckpointError(
            f"Its input is {text}; a batch of images is N x C x H x W or N x H x W x C, with 1 or 3 channels."
        )
    if max(found[0].height, found[0].width) > _MAX_SIDE:
        raise CheckpointError(
            f"Its input has {found[0].width} x {found[0].height} pixels, but a side has at most {_MAX_SIDE}."
        )
    if size is not None and (found[0].height, found[0].width) != size:
        raise CheckpointError(
            f"Its input has {found[0].width} x {found[0].height} pixels, but --preprocess asks for "
            f"{size[1]} x {size[0]}; leave height and width out there."
        )
    return found


def _placements(dims: list[int | None], size: tuple[int, int]) -> Iterator[Placement]:
    batch = dims[0]
    by_layout = {Layout.NCHW: (dims[1], dims[2], dims[3]), Layout.NHWC: (dims[3], dims[1], dims[2])}
    # A layout with a fixed number of channels comes before one with any number.
    for is_fixed in (True, False):
        for layout, (channels, height, width) in by_layout.items():
            for count in (3, 1):
                if channels == count if is_fixed else channels is None:
                    yield Placement(layout, height or size[0], width or size[1], count, batch)
