"""Which runtime, precision and devices serve a model: decided once, before a worker announces itself.

It imports neither numpy nor torch: a worker's parent process decides, and its processes load.
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

#: The extra that brings each runtime, and the module that it is.
_EXTRAS = {ONNX_RUNTIME: "worker", TORCH: "torch"}
_MODULES = {ONNX_RUNTIME: "onnxruntime", TORCH: "torch"}
#: What Linux says of a processor that multiplies bfloat16 itself; on others torch emulates it, slower than float32.
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
#: The devices of NVIDIA's driver. Without one of them torch, which takes seconds to import, is not asked for GPUs.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
_ASKING = 120.0  # seconds that torch may take to list the GPUs
_GPUS = (
    "import json, torch; count = torch.cuda.device_count() if torch.cuda.is_available() else 0; "
    "print(json.dumps([torch.cuda.get_device_capability(gpu)[0] >= 8 for gpu in range(count)]))"
)


@dataclass(frozen=True)
class Machine:
    """What a machine has to run networks on.

    Args:
        gpus: One for each CUDA device: whether it computes in bfloat16 (compute capability 8 or more).
        has_bf16: Whether the processor multiplies bfloat16.
        installed: Whether a runtime of that name is installed.
    """

    gpus: Callable[[], tuple[bool, ...]]
    has_bf16: Callable[[], bool]
    installed: Callable[[str], bool]


@dataclass(frozen=True)
class Choice:
    """How a model is run.

    Args:
        runtime: Its name in `registry.RUNTIMES`.
        precision: "f32", "bf16", "f16" or "int8".
        devices: "cpu" alone, or CUDA devices, each of which runs the network for several processes.
    """

    runtime: str
    precision: str = "f32"
    devices: tuple[str, ...] = ("cpu",)

    @property
    def kind(self) -> str:
        """Runtime and precision, as answers and announcements carry them: `onnxruntime/f32`."""
        return f"{self.runtime}/{self.precision}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings, as variables, from which `choose` makes this choice again."""
        values = {"RUNTIME": self.runtime, "PRECISION": self.precision, "DEVICE": ",".join(self.devices)}
        return {ENV_PREFIX + name: value for name, value in values.items()}


def choose(about: Checkpoint, settings: Settings, machine: Machine | None = None) -> Choice:
    """Decide how a model is run here.

    Args:
        about: The model.
        settings: `runtime`, `precision` and `device`, each of which may be `auto`.
        machine: In place of this one.

    Raises:
        SettingsError: The model, the machine or what is installed does not allow it.
    """
    machine = machine or THIS
    devices = _devices(about, settings, machine)
    runtime = _runtime(about, settings, devices, machine)
    return Choice(runtime, _precision(about, settings, runtime, devices, machine), devices)


def _devices(about: Checkpoint, settings: Settings, machine: Machine) -> tuple[str, ...]:
    """Return the devices that are asked for; all GPUs, where `auto` may use them."""
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
            f"PIGEONHOLE_DEVICE is {settings.device!r} and torch finds {there} here: use 'auto' or 'cpu'"
        )
    return wanted


def _numbered(gpus: tuple[bool, ...]) -> tuple[str, ...]:
    return tuple(f"cuda:{number}" for number in range(len(gpus)))


def _runtime(about: Checkpoint, settings: Settings, devices: tuple[str, ...], machine: Machine) -> str:
    """Return the runtime: ONNX Runtime on a CPU, torch on a GPU or if the model file has no graph."""
    possible = [TORCH] if devices != ("cpu",) else [ONNX_RUNTIME, TORCH]
    if settings.runtime != "auto":
        if settings.runtime not in possible:
            raise SettingsError(
                f"PIGEONHOLE_RUNTIME is {settings.runtime!r}, which runs on a CPU only, not on {devices[0]}"
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
                f"PIGEONHOLE_PRECISION is {asked!r}, and {runtime} runs the model {about.name!r} in "
                f"{about.precision}: use 'auto', or PIGEONHOLE_RUNTIME={TORCH}"
            )
        return about.precision
    if devices == ("cpu",):
        if asked == "f16" or (asked == "bf16" and not machine.has_bf16()):
            raise SettingsError(
                f"PIGEONHOLE_PRECISION is {asked!r}, which this processor does not compute in: use 'f32'"
            )
        return "f32" if asked == "auto" else asked
    half = "bf16" if all(machine.gpus()) else "f16"
    return half if asked == "auto" else asked


@cache
def _gpus() -> tuple[bool, ...]:
    """Ask torch, in a process of its own, for the CUDA devices."""
    if not any(driver.exists() for driver in _DRIVERS):
        return ()
    command = [sys.executable, "-P", "-c", _GPUS]
    try:
        run = subprocess.run(command, capture_output=True, timeout=_ASKING, check=True)
        return tuple(map(bool, json.loads(run.stdout)))
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        raise SettingsError(
            f"torch can't list the CUDA devices ({exc}): set PIGEONHOLE_DEVICE=cpu, or mend it"
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
