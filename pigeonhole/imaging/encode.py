"""An image in a program's memory → the bytes of an image file. Importing this module imports no numpy and no Pillow."""

import io
import sys
from typing import TYPE_CHECKING, TypeAlias, Union

from pigeonhole.errors import UsageError
from pigeonhole.version import install_hint

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

#: The content of an image file, an array of uint8, or Pillow's image.
InMemory: TypeAlias = Union[bytes, bytearray, memoryview, "NDArray[np.uint8]", "Image.Image"]

#: Modes of Pillow that PNG stores without conversion.
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
#: EXIF's tag 0x0112, "Orientation": which side is up.
_ORIENTATION = 0x0112


def encoded(image: object, name: str) -> bytes | None:
    """Return an image as the content of an image file, without loss; None for another object, such as a path.

    Args:
        image: bytes are the content of a file already; an array is uint8 [height, width] or [height, width, channels]
            with 1, 3 or 4 channels; a Pillow image has a mode that PNG can store.
        name: the image's name, for messages.

    Raises:
        UsageError: the array or the Pillow image can't be encoded.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    # An object of these types can exist only if its module is loaded.
    numpy, pillow = sys.modules.get("numpy"), sys.modules.get("PIL.Image")
    if numpy is not None and isinstance(image, numpy.ndarray):
        return _png(_from_array(image, name), name)
    if pillow is not None and isinstance(image, pillow.Image):
        return _png(image, name)
    return None


def _from_array(array: "NDArray[Any]", name: str) -> "Image.Image":
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != "uint8" or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        several = "; list(array) makes a list of several images" if array.ndim == 4 else ""
        raise UsageError(
            f"{name} is an array of {array.dtype} {list(array.shape)}: an image must be uint8 [height, width] or "
            f"[height, width, channels] with 1, 3 or 4 channels{several}"
        )
    try:
        from PIL import Image
    except ImportError as exc:
        raise UsageError(f"{name} is an array: encoding it needs Pillow: {install_hint('report')}") from exc
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and channels == 1 else array)


def _png(image: "Image.Image", name: str) -> bytes:
    if image.mode not in _PNG_MODES:
        raise UsageError(
            f"{name} has Pillow's mode {image.mode!r}, which PNG can't store: convert it with image.convert('RGB')"
        )
    file = io.BytesIO()
    try:
        # The orientation is copied: an image file's own bytes would have it, too.
        exif = sys.modules["PIL.Image"].Exif()
        exif[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
        image.save(file, "PNG", compress_level=1, exif=exif if exif[_ORIENTATION] != 1 else b"")
    except Exception as exc:  # Pillow reads the file only now, and a damaged one raises exceptions of any type
        raise UsageError(f"{name} can't be encoded: {exc}") from exc
    return file.getvalue()
