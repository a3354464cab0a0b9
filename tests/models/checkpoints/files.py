"""Checkpoint files that are changed, signed again, or damaged."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pigeonhole.errors import CheckpointError
from pigeonhole.models.checkpoint import Checkpoint, describe
from pigeonhole.models.networks.network import Network

Fresh = tuple[Path, Checkpoint, Network]


def refused(path: Path, action: object = describe) -> str:
    with pytest.raises(CheckpointError) as caught:
        action(path)  # type: ignore[operator]
    return str(caught.value)


def metadata(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    length = struct.unpack_from("<Q", content)[0]
    return dict(json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["pigeonhole"]))


def rewrite(path: Path, **changes: object) -> Path:
    """Write the file with changed metadata; a value of `...` removes the key."""
    values = {key: value for key, value in {**metadata(path), **changes}.items() if value is not ...}
    save_file(load_file(path), path, metadata={"pigeonhole": json.dumps(values, sort_keys=True)})
    return path


def digest_of(about: Checkpoint, tensors: Mapping[str, torch.Tensor]) -> str:
    """Compute the digest by its definition."""
    found = hashlib.sha256(json.dumps(about.deciding(), sort_keys=True).encode())
    for key, value in sorted(tensors.items()):
        found.update(f"\n{key} {value.dtype} {list(value.shape)}\n".encode() + value.numpy().tobytes())
    return found.hexdigest()
