"""The settings: one frozen object, read once from the environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from pigeonhole.errors import SettingsError

ENV_PREFIX = "PIGEONHOLE_"
#: The argument of a broker's URL with the path of the file that contains the password.
PASSWORD_FILE = "password_file"
_SCHEMES = ("redis://", "rediss://", "unix://")
#: A password in a URL: the text from the first colon after the scheme to the last @.
_PASSWORD = re.compile(r"^([^:/@]*://)?+([^/@:]*):.*@", re.DOTALL)
#: redis-py's arguments that hold passwords. It also accepts the names in other spellings: percent-encoded letters, such
#: as `pass%77ord`, and line breaks.
_LETTERS = {
    name: "".join(rf"(?:{letter}|%{ord(letter):x})[\t\r\n]*" for letter in name) for name in ("ssl_", "password")
}
_PASSWORD_ARGUMENT = re.compile(
    rf"([?&][\t\r\n]*(?:{_LETTERS['ssl_']})?{_LETTERS['password']}=)[^&]*", re.DOTALL | re.IGNORECASE
)
#: The largest value of a number. Redis would refuse a larger time to live, in the middle of a commit.
_MOST = 10**12
_RUNTIMES = ("auto", "onnxruntime", "torch")
_PRECISIONS = ("auto", "f32", "bf16", "f16", "int8")
_DEVICES = re.compile(r"auto|cpu|cuda|cuda:\d+(,cuda:\d+)*")
_LOG_FORMATS = ("text", "json")
#: Kubernetes sets `PIGEONHOLE_X_PORT` to such a URL for a Service named `pigeonhole-x`.
_SERVICE = re.compile(r"(tcp|udp|sctp)://")
#: An unknown variable that differs from a known one by at most this number of letters counts as a typing error.
_MISSPELT = 2
#: Variables of earlier versions → their names now.
_RENAMED = {"PIGEONHOLE_PATIENCE": "PIGEONHOLE_OUTAGE_SECONDS"}

T = TypeVar("T")


def _setting(default: T, doc: str) -> T:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings. The variable of a field is `PIGEONHOLE_` and the field's name in capitals.

    Raises:
        SettingsError: a value can't be used; the message has the variable, the value and the allowed values.
    """

    broker_url: str = _setting("", "Redis: `redis://…`, `rediss://…` or `unix:///path`; empty: an embedded Redis")
    broker_password_file: str = _setting("", "file with the password of that Redis, such as a container's secret")
    prefix: str = _setting("pigeonhole", "prefix of every key in Redis, so that several programs can share it")
    image_root: str = _setting("/", "folder that paths are relative to; a worker reads nothing outside it")
    model: str = _setting("digits", "workers: a model file, or the shipped `digits`; commands: a model's name")
    runtime: str = _setting("auto", "workers: library that runs the network: `auto`, `onnxruntime` or `torch`")
    precision: str = _setting("auto", "workers: precision of the network: `auto`, `f32`, `bf16`, `f16` or `int8`")
    device: str = _setting("auto", "workers: device of the network: `auto`, `cpu`, `cuda` (all) or `cuda:0,cuda:1`")
    processes: int = _setting(0, "worker processes; 0: one for each core that this machine or container may use")
    chunk: int = _setting(256, "images that go through the network at once")
    max_pixels: int = _setting(80_000_000, "an image with more pixels, by its header, becomes an error row")
    max_bytes: int = _setting(256_000_000, "a file with more bytes becomes an error row")
    batch_seconds: int = _setting(300, "seconds for a batch; after that, its process is ended, and the batch is split")
    publish_seconds: int = _setting(15, "seconds until a batch that is missing from the queue is published again")
    outage_seconds: int = _setting(600, "seconds to wait for a Redis that is down or full")
    result_ttl: int = _setting(604_800, "workers: seconds that a finished job's rows stay in Redis")
    log_format: str = _setting("text", "workers: format of the log: `text`, or `json` with one object a line")
    metrics_port: str = _setting(
        "", "workers: address of the metrics for Prometheus: `9100` (127.0.0.1), `0.0.0.0:9100`"
    )

    def __post_init__(self) -> None:
        if self.broker_url and not _is_broker(self.broker_url):
            raise _refused("broker_url", masked(self.broker_url), "a redis://, rediss:// or unix:// URL")
        if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", self.prefix):
            raise _refused("prefix", self.prefix, "1 to 64 letters, digits or any of _ . : -")
        if not os.path.isabs(self.image_root):
            raise _refused("image_root", self.image_root, "an absolute path")
        if not _DEVICES.fullmatch(self.device):
            raise _refused("device", self.device, "auto, cpu, cuda, or CUDA devices such as cuda:0,cuda:1")
        choices = {"runtime": _RUNTIMES, "precision": _PRECISIONS, "log_format": _LOG_FORMATS}
        for name, fitting in choices.items():
            if getattr(self, name) not in fitting:
                raise _refused(name, getattr(self, name), " or ".join(fitting))
        if not self.model:
            raise _refused("model", self.model, "a model's name or a checkpoint file")
        if self.metrics_port and self.metrics_address is None:
            raise _refused("metrics_port", self.metrics_port, "a port from 1 to 65535, or an address and a port")
        self._check_numbers()

    def _check_numbers(self) -> None:
        times = ("batch_seconds", "publish_seconds", "outage_seconds", "result_ttl")
        for name in ("chunk", "max_pixels", "max_bytes", *times):
            if not 1 <= getattr(self, name) <= _MOST:
                raise _refused(name, getattr(self, name), f"a number from 1 to {_MOST}")
        if self.processes < 0:
            raise _refused("processes", self.processes, "a number from 0 up")

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """The address and port at which a worker serves its metrics; None: it serves none."""
        host, _, port = self.metrics_port.rpartition(":")
        if "/" in host or not re.fullmatch(r"\d{1,5}", port) or not 1 <= int(port) <= 65535:
            return None
        return host.strip("[]") or "127.0.0.1", int(port)

    def __repr__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in fields(self)} | {"broker_url": masked(self.broker_url)}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read every `PIGEONHOLE_…` variable.

        An unknown variable is ignored, unless it looks like a misspelt setting or was one in an earlier version.
        Kubernetes sets unknown ones, such as `PIGEONHOLE_REDIS_SERVICE_HOST` for a Service named `pigeonhole-redis`.

        Args:
            environment: the variables to read; None: those of this process.

        Raises:
            SettingsError: a variable is a misspelt setting or one of an earlier version, or its value can't be used.
        """
        environment = os.environ if environment is None else environment
        known = {ENV_PREFIX + f.name.upper(): f for f in fields(cls)}
        values: dict[str, str | int] = {}
        for variable, text in environment.items():
            if variable in known:
                values[known[variable].name] = _parsed(known[variable], text)
            elif variable.startswith(ENV_PREFIX) and not _SERVICE.match(text):
                meant = _RENAMED.get(variable) or next((name for name in known if _is_misspelt(variable, name)), None)
                if meant:
                    raise SettingsError(f"unknown setting {variable}: did you mean {meant}?")
        # The file becomes part of the URL, so that an embedded Redis never uses this password.
        password_file = str(values.pop("broker_password_file", ""))
        if password_file and values.get("broker_url"):
            values["broker_url"] = _with_password_file(str(values["broker_url"]), password_file)
        return cls(**values)  # type: ignore[arg-type]  # each value was parsed as its field's type says

    def to_environment(self) -> dict[str, str]:
        """Return the variables from which `from_environment` reads these settings again."""
        return {ENV_PREFIX + f.name.upper(): str(getattr(self, f.name)) for f in fields(self)}


def read_password(file: str) -> str:
    """Return the password in a file."""
    return Path(file).read_text(encoding="utf-8").rstrip("\r\n")


def masked(url: str) -> str:
    """Return a URL with `***` in place of its password, for logs, errors and `repr`."""
    # Without parsing: in a malformed URL, a parser would not find the password.
    return _PASSWORD_ARGUMENT.sub(r"\1***", _PASSWORD.sub(r"\1\2:***@", url))


def _is_broker(url: str) -> bool:
    if not url.startswith(_SCHEMES):
        return False
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return bool(parts.path)
        return (parts.port or 1) > 0 and re.fullmatch(r"/?\d*", parts.path) is not None  # its path is a database
    except ValueError:  # an unmatched bracket, or a port that is not a number
        return False


def _with_password_file(url: str, file: str) -> str:
    """Add the path of a password file to a URL, as an argument that `pigeonhole.ledger.redis.client` reads."""
    if not _is_broker(url):
        return url  # `Settings` refuses it
    try:
        read_password(file)
    except (OSError, UnicodeDecodeError) as exc:
        wanted = f"a file that can be read ({getattr(exc, 'strerror', None) or 'it is not UTF-8'})"
        raise _refused("broker_password_file", file, wanted) from exc
    parts = urlsplit(url)
    if parts.password is not None:
        raise _refused("broker_password_file", file, f"left out, since {masked(url)} has a password already")
    argument = f"{PASSWORD_FILE}={quote(os.path.abspath(file))}"
    return f"{url}{'&' if parts.query else '?'}{argument}"


def _parsed(setting: "Field[object]", text: str) -> str | int:
    if setting.type is not int:
        return text
    try:
        return int(text.replace("_", ""))
    except ValueError as exc:
        raise _refused(setting.name, text, "a whole number") from exc


def _refused(name: str, value: object, wanted: str) -> SettingsError:
    cause = ""
    if name.endswith("_port") and _SERVICE.match(str(value)):
        service = f"{ENV_PREFIX}{name}".lower().removesuffix("_port").replace("_", "-")
        cause = (
            f". Kubernetes sets this for a Service named {service!r}: set `enableServiceLinks: false` in the pod, or "
            "rename the Service"
        )
    return SettingsError(f"{ENV_PREFIX}{name.upper()} is {value!r}: it must be {wanted}{cause}")


def _is_misspelt(variable: str, known: str) -> bool:
    """Return whether a variable is probably a misspelt known one: a few wrong letters, or missing words at the end."""
    return known.startswith(f"{variable}_") or _distance(variable, known) <= _MISSPELT


def _distance(one: str, other: str) -> int:
    """Return the Levenshtein distance: the fewest insertions, deletions and replacements from one text to another."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        left = [number]
        for at, opposite in enumerate(other):
            left.append(min(left[at] + 1, row[at + 1] + 1, row[at] + (letter != opposite)))
        row = left
    return row[-1]
