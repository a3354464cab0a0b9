"""Convert an ONNX file in a separate process, because a hostile graph may take any memory and time, or crash."""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pigeonhole.errors import CheckpointError
from pigeonhole.models.conversion.convert import Converted, convert
from pigeonhole.models.conversion.foreign import read
from pigeonhole.models.conversion.layout import Layout, Placement
from pigeonhole.models.conversion.wrap import Meaning, Normalisation

TIMEOUT = 600.0  # seconds; a network of 300 million parameters takes one second
_SHARE = 0.75  # the share of this machine's memory that the process may use


def convert_file(
    path: Path,
    normalisation: Normalisation,
    size: tuple[int, int] | None = None,
    classes: int | None = None,
    multi_label: bool = False,
    timeout: float = TIMEOUT,
) -> Converted:
    """Read and convert an ONNX file.

    Args:
        path: The path of the file.
        normalisation: The normalisation of pixels that the model needs.
        size: Height and width for a graph that takes any size; None: 224 x 224.
        classes: The number of classes, if it is known.
        multi_label: Whether an image may have several labels.
        timeout: The longest time for the conversion, in seconds.

    Raises:
        CheckpointError: The file can't be read or converted, or takes too much memory or time.
    """
    with tempfile.TemporaryDirectory(prefix="pigeonhole-import-") as folder:
        graph, answers = Path(folder) / "graph.onnx", Path(folder) / "answer.json"
        request = {**asdict(normalisation), "path": str(path), "size": size, "classes": classes}
        request |= {"multi_label": multi_label}
        request |= {"graph": str(graph), "answer": str(answers)}
        command = [sys.executable, "-P", "-m", __name__, json.dumps(request)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as exc:
            raise CheckpointError(
                f"{path}: converting its graph takes more than {timeout:.0f} s; the graph is too large."
            ) from exc
        if done.returncode:
            raise CheckpointError(f"{path}: its graph can't be run ({_ending(done)}); the file is damaged.")
        answer = json.loads(answers.read_text(encoding="utf-8"))
        if "error" in answer:
            raise CheckpointError(answer["error"])
        return _converted(answer, graph.read_bytes())


def main() -> None:
    """Convert one file. The process's argument is the request as JSON, which names the output files."""
    request = json.loads(sys.argv[1])
    limit = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
    path, size = Path(request["path"]), request["size"]
    try:
        normalisation = Normalisation(tuple(request["mean"]), tuple(request["std"]))
        shape = size and (size[0], size[1])
        found = convert(read(path), normalisation, shape, request["classes"], request["multi_label"])
        Path(request["graph"]).write_bytes(found.graph)
        answer = {key: value for key, value in asdict(found).items() if key != "graph"}
    except MemoryError:
        answer = {"error": f"{path}: its graph needs more than {limit / 2**30:.0f} GB of memory."}
    except CheckpointError as exc:
        text = str(exc)
        answer = {"error": text if text.startswith(str(path)) else f"{path}: {text}"}
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def _converted(answer: dict[str, Any], graph: bytes) -> Converted:
    placement = answer.pop("placement")
    placement["layout"] = Layout(placement["layout"])
    found = Converted(graph=graph, placement=Placement(**placement), **answer)
    return replace(found, meaning=Meaning(found.meaning))


def _ending(done: "subprocess.CompletedProcess[bytes]") -> str:
    """Return the reason, in words, why a process ended."""
    if done.returncode < 0:
        return f"ONNX Runtime was ended by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {done.returncode}"


if __name__ == "__main__":
    main()
