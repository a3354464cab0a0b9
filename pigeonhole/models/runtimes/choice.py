"""Choose the runtime, precision and devices for a model, once, before a worker announces itself.

This module imports neither numpy nor torch, because a worker's parent process chooses, and its child processes load.
"""

import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pigeonhole.errors import SettingsError
from pigeonhole.models.record import ONNX_RUNTIME, TORCH, Checkpoint
from pigeonhole.settings import ENV_PREFIX, Settings
from pigeonhole.version import install_hint

#: Runtime → the extra that installs it; and its Python module.
_EXTRAS = {ONNX_RUNTIME: "worker", TORCH: "torch"}
_MODULES = {ONNX_RUNTIME: "onnxruntime", TORCH: "torch"}
#: Linux's flags of a processor that supports bfloat16. On others, torch emulates it, slower than float32.
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
#: The device files of NVIDIA's driver. Without one of them there is no GPU, and the slow import of torch is skipped.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
_ASKING = 120.0  # seconds that torch may take to list the GPUs
_GPUS = (
    "import json, torch; count = torch.cuda.device_count() if torch.cuda.is_available() else 0; "
    "print(json.dumps([torch.cuda.get_device_capability(gpu)[0] >= 8 for gpu in range(count)]))"
)


@dataclass(frozen=True)
class Machine:
    """Functions that describe a machine's devices and runtimes.

    Args:
        gpus: Returns, for each CUDA device, whether it supports bfloat16 (compute capability 8 or more).
        has_bf16: Returns whether the processor supports bfloat16.
        installed: Returns whether a runtime of a name is installed.
    """

    gpus: Callable[[], tuple[bool, ...]]
    has_bf16: Callable[[], bool]
    installed: Callable[[str], bool]


@dataclass(frozen=True)
class Choice:
    """The chosen way to run a model.

    Args:
        runtime: The runtime's name in `registry.RUNTIMES`.
        precision: The precision of the network: "f32", "bf16", "f16" or "int8".
        devices: "cpu" only, or CUDA devices, each of which is shared by several worker processes.
    """

    runtime: str
    precision: str = "f32"
    devices: tuple[str, ...] = ("cpu",)

    @property
    def kind(self) -> str:
        """Runtime and precision, as in the messages of workers: `onnxruntime/f32`."""
        return f"{self.runtime}/{self.precision}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which `choose` returns this choice again."""
        values = {"RUNTIME": self.runtime, "PRECISION": self.precision, "DEVICE": ",".join(self.devices)}
        return {ENV_PREFIX + name: value for name, value in values.items()}


def choose(about: Checkpoint, settings: Settings, machine: Machine | None = None) -> Choice:
    """Choose how to run a model on this machine.

    Args:
        about: The model's record.
        settings: The settings `runtime`, `precision` and `device`, each of which may be `auto`.
        machine: The machine; None: this one.

    Raises:
        SettingsError: The settings don't fit the model, the machine or the installed runtimes.
    """
    machine = machine or THIS
    devices = _devices(about, settings, machine)
    runtime = _runtime(about, settings, devices, machine)
    return Choice(runtime, _precision(about, settings, runtime, devices, machine), devices)


def _devices(about: Checkpoint, settings: Settings, machine: Machine) -> tuple[str, ...]:
    """Return the devices to use. `auto` uses all GPUs if torch can run the model, or else the CPU."""
    if settings.device == "auto":
        can = settings.runtime != ONNX_RUNTIME and TORCH in about.runtimes and machine.installed(TORCH)
        return _numbered(machine.gpus()) or ("cpu",) if can else ("cpu",)
    if settings.device == "cpu":
        return ("cpu",)
    if not machine.installed(TORCH):
        raise SettingsError(f"PIGEONHOLE_DEVICE is {settings.device!r}, which needs torch: {install_hint('torch')}")
    found = _numbered(machine.gpus())
    wanted = found if settings.device == "cuda" else tuple(settings.device.split(","))
    if not wanted or not set(wanted) <= set(found):
        there = f"only {', '.join(found)}" if found else "no CUDA device"
        raise SettingsError(
            f"PIGEONHOLE_DEVICE is {settings.device!r}, but torch finds {there} on this machine: use 'auto' or 'cpu'"
        )
    return wanted


def _numbered(gpus: tuple[bool, ...]) -> tuple[str, ...]:
    return tuple(f"cuda:{number}" for number in range(len(gpus)))


def _runtime(about: Checkpoint, settings: Settings, devices: tuple[str, ...], machine: Machine) -> str:
    """Return the runtime. `auto` uses ONNX Runtime on a CPU, and torch on a GPU or if the model file has no graph."""
    possible = [TORCH] if devices != ("cpu",) else [ONNX_RUNTIME, TORCH]
    if settings.runtime != "auto":
        if settings.runtime not in possible:
            raise SettingsError(
                f"PIGEONHOLE_RUNTIME is {settings.runtime!r}, which can't run on {devices[0]}: use 'auto' or 'torch'"
            )
        possible = [settings.runtime]
    able = [runtime for runtime in possible if runtime in about.runtimes]
    if not able:
        raise SettingsError(
            f"the model {about.name!r} can be run by {' or '.join(about.runtimes)}, not by {' or '.join(possible)}: "
            f"set PIGEONHOLE_RUNTIME={about.runtimes[0]}"
            + (" and PIGEONHOLE_DEVICE=cpu" if devices != ("cpu",) else "")
        )
    for runtime in able:
        if machine.installed(runtime):
            return runtime
    raise SettingsError(
        f"the model {about.name!r} needs {_MODULES[able[0]]}, which is not installed: {install_hint(_EXTRAS[able[0]])}"
    )


def _precision(about: Checkpoint, settings: Settings, runtime: str, devices: tuple[str, ...], machine: Machine) -> str:
    asked = settings.precision
    if about.precision != "f32" or runtime == ONNX_RUNTIME:
        # ONNX Runtime computes in the precision of the graph.
        if asked not in ("auto", about.precision):
            raise SettingsError(
                f"PIGEONHOLE_PRECISION is {asked!r}, but {runtime} runs the model {about.name!r} in "
                f"{about.precision}: use 'auto', or PIGEONHOLE_RUNTIME={TORCH}"
            )
        return about.precision
    if devices == ("cpu",):
        if asked == "f16" or (asked == "bf16" and not machine.has_bf16()):
            raise SettingsError(f"PIGEONHOLE_PRECISION is {asked!r}, which this processor does not support: use 'f32'")
        return "f32" if asked == "auto" else asked
    half = "bf16" if all(machine.gpus()) else "f16"
    return half if asked == "auto" else asked


@cache
def _gpus() -> tuple[bool, ...]:
    """List the CUDA devices with torch, in a separate process."""
    if not any(driver.exists() for driver in _DRIVERS):
        return ()
    command = [sys.executable, "-P", "-c", _GPUS]
    try:
        run = subprocess.run(command, capture_output=True, timeout=_ASKING, check=True)
        return tuple(map(bool, json.loads(run.stdout)))
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        raise SettingsError(
            f"torch can't list the CUDA devices ({exc}): set PIGEONHOLE_DEVICE=cpu, or repair the driver"
        ) from exc


def _has_bf16() -> bool:
    if platform.system() != "Linux":
        return False
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as table:
        flags = next((line for line in table if line.startswith(("flags", "Features"))), "")
    return not _BF16.isdisjoint(flags.split())


def _installed(runtime: str) -> bool:
    return importlib.util.find_spec(_MODULES[runtime]) is not None


#: The machine that this process runs on.
THIS = Machine(_gpus, _has_bf16, _installed)
