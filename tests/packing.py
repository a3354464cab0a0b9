"""Write archives of every kind, for tests."""

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

#: The file endings of archives, one for each kind.
KINDS = ("zip", "tar", "tar.gz")


def pack(path: Path, members: Iterable[tuple[str, bytes]], **options: object) -> Path:
    """Write an archive, whose kind depends on its name.

    Args:
        path: the path of the archive.
        members: name and content of each member; names may be repeated.
        options: options of the library that writes the archive.
    """
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", **{"compression": zipfile.ZIP_DEFLATED} | options) as archive:  # type: ignore[call-overload]
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data, archive.compression)
        return path
    mode = "w" if path.suffix == ".tar" else "w:gz"
    with tarfile.open(path, mode, **{"encoding": "utf-8", "errors": "surrogateescape"} | options) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
