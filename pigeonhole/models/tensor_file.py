"""Read safetensors files, the format of model files: the header with the standard library, tensors with numpy.

https://huggingface.co/docs/safetensors describes the format.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pigeonhole.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]

_MAX_HEADER = 10_000_000  # bytes, a tenth of the library's limit, read in a second; our headers have a few thousand
_MAX_TEXT = 200  # characters of a library's message, which may quote a damaged file at any length
_MAX_DIMENSIONS = 16  # dimensions of a tensor; a convolution's weights have 4
_DTYPES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1}


def header(path: Path) -> dict[str, Any]:
    """Read the header of a file, and check the file's length against it.

    Returns:
        The name of each tensor → its dtype, shape and offsets; and "__metadata__" → a mapping of keys to texts.

    Raises:
        CheckpointError: The file is not a safetensors file, or is truncated.
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        return _header(file.read(8), file.read, os.fstat(file.fileno()).st_size)


def tensors(path: Path) -> "Tensors":
    """Read all tensors of a file.

    Raises:
        CheckpointError: The tensors can't be read, or contain NaN or infinity.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: Tensors = load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError) as exc:  # KeyError: a dtype that numpy does not have
        raise CheckpointError(f"{path}: its weights can't be read ({exc}); copy or make it again.") from exc
    for key, value in found.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise CheckpointError(
                f"{path}: the weights {key!r} contain NaN or infinity: training diverged; train again."
            )
    return found


def _header(length: bytes, read: Any, size: int) -> dict[str, Any]:  # noqa: ANN401 - a bound method
    """Parse the header of a safetensors file: 8 bytes with its length, little-endian; JSON; then the tensors."""
    count = int.from_bytes(length, "little")
    if len(length) < 8:
        raise CheckpointError("It is not a safetensors file.")
    if not 2 <= count <= _MAX_HEADER:
        raise CheckpointError(f"It is not a safetensors file: its header would take {count:,} bytes.")
    content = read(min(count, size))
    if not content.startswith(b"{"):
        raise CheckpointError("It is not a safetensors file.")
    if len(content) < count:
        raise CheckpointError(f"It is truncated: {size} bytes, but its header alone has {8 + count}; copy it again.")
    try:
        header = json.loads(content)
        ends = [_end(entry) for key, entry in header.items() if key != "__metadata__"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        text = str(exc)[:_MAX_TEXT]
        raise CheckpointError(f"It is not a safetensors file: its header is damaged ({text}).") from exc
    whole = 8 + count + max(ends, default=0)
    if size != whole:
        what = "truncated" if size < whole else "longer than its header says"
        raise CheckpointError(f"It is {what}: {size} bytes instead of {whole}; copy it again.")
    return dict(header)


def _end(entry: Mapping[str, Any]) -> int:
    begin, end = entry["data_offsets"]
    shape = entry["shape"]
    # Checked before they are multiplied: huge numbers would take hours, and a text times a number all memory.
    if len(shape) > _MAX_DIMENSIONS or not all(type(x) is int and 0 <= x < 2**63 for x in (begin, end, *shape)):
        raise ValueError(f"offsets {begin!r} to {end!r} for the shape {shape!r}")
    if begin > end or end - begin != math.prod(shape) * _DTYPES[entry["dtype"]]:
        raise ValueError(f"offsets {begin} to {end} for {entry['dtype']} {shape}")
    return int(end)
