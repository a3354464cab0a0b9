"""Settings from the environment: valid values, refused values, and hidden passwords."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pigeonhole.errors import SettingsError
from pigeonhole.settings import ENV_PREFIX, Settings, masked
from tests.messages import check_message

NOT_DEFAULTS: dict[str, str | int] = {
    "broker_url": "rediss://user:p%40ss@redis.example:6380/3",
    "broker_password_file": "/run/secrets/redis",
    "prefix": "team-a:photos",
    "image_root": "/srv/images",
    "model": "/models/letters.safetensors",
    "runtime": "torch",
    "precision": "bf16",
    "device": "cuda:0,cuda:1",
    "processes": 7,
    "chunk": 32,
    "max_pixels": 1_000,
    "max_bytes": 2_000,
    "batch_seconds": 60,
    "outage_seconds": 30,
    "publish_seconds": 5,
    "result_ttl": 3_600,
    "log_format": "json",
    "metrics_port": "0.0.0.0:9100",
}


def test_every_setting_passes_through_the_environment_unchanged() -> None:
    assert set(NOT_DEFAULTS) == {field.name for field in dataclasses.fields(Settings)}
    for name, value in NOT_DEFAULTS.items():
        if name == "broker_password_file":
            continue  # it becomes a part of the URL; tests/deploy tests it
        settings = Settings(**{name: value})  # type: ignore[arg-type]
        assert getattr(settings, name) != getattr(Settings(), name)
        assert Settings.from_environment(settings.to_environment()) == settings


def test_every_setting_is_documented() -> None:
    assert all(field.metadata["doc"] for field in dataclasses.fields(Settings))


def test_the_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIGEONHOLE_CHUNK", "1_000")
    assert Settings.from_environment() == Settings(chunk=1000)


def test_variables_without_the_prefix_are_ignored() -> None:
    assert Settings.from_environment({"PIGEON": "1", "PATH": "/bin", "pigeonhole_chunk": "x"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("PIGEONHOLE_BROKER", "PIGEONHOLE_BROKER_URL"),
        ("PIGEONHOLE_CHUNKS", "PIGEONHOLE_CHUNK"),
        ("PIGEONHOLE_MAX_PIXEL", "PIGEONHOLE_MAX_PIXELS"),
        ("PIGEONHOLE_RESULTS_TTL", "PIGEONHOLE_RESULT_TTL"),
        ("PIGEONHOLE_BORKER_URL", "PIGEONHOLE_BROKER_URL"),
        ("PIGEONHOLE_IMAGEROOT", "PIGEONHOLE_IMAGE_ROOT"),
        ("PIGEONHOLE_LOG", "PIGEONHOLE_LOG_FORMAT"),
        ("PIGEONHOLE_PATIENCE", "PIGEONHOLE_OUTAGE_SECONDS"),
    ],
)
def test_an_unknown_setting_is_refused_with_a_suggestion(variable: str, near: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({variable: "1"})
    check_message(error.value, f"{variable}: ", f"{near}?")


def service(name: str) -> dict[str, str]:
    """Return the variables that Kubernetes sets in every pod beside a Service of this name."""
    prefix, url = name.upper().replace("-", "_"), "tcp://10.43.0.7:6379"
    return {
        f"{prefix}_SERVICE_HOST": "10.43.0.7",
        f"{prefix}_SERVICE_PORT": "6379",
        f"{prefix}_SERVICE_PORT_REDIS": "6379",
        f"{prefix}_PORT": url,
        f"{prefix}_PORT_6379_TCP": url,
        f"{prefix}_PORT_6379_TCP_PROTO": "tcp",
        f"{prefix}_PORT_6379_TCP_PORT": "6379",
        f"{prefix}_PORT_6379_TCP_ADDR": "10.43.0.7",
    }


@pytest.mark.parametrize("name", ["redis", "broker", "metric", "model", "image", "log", "worker"])
def test_a_kubernetes_service_changes_no_setting(name: str) -> None:
    assert Settings.from_environment(service(f"pigeonhole-{name}") | service("pigeonhole")) == Settings()


def test_a_kubernetes_service_with_the_name_of_a_setting_is_refused_with_the_remedy() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment(service("pigeonhole-metrics"))
    check_message(
        error.value,
        "PIGEONHOLE_METRICS_PORT is 'tcp://10.43.0.7:6379'",
        "'pigeonhole-metrics'",
        "`enableServiceLinks: false`",
    )


@pytest.mark.parametrize("name", ["Q" * 40, "Q", "REDIS_URL", "BATCH_SIZE", ""])
def test_a_variable_unlike_any_setting_is_ignored(name: str) -> None:
    assert Settings.from_environment({ENV_PREFIX + name: "1"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("BROKER_URL", "localhost:6379", "a redis://, rediss:// or unix:// URL"),
        ("BROKER_URL", "amqp://localhost", "a redis://, rediss:// or unix:// URL"),
        ("BROKER_URL", "redis:localhost", "a redis://, rediss:// or unix:// URL"),
        ("BROKER_URL", "redis://localhost:http", "a redis://, rediss:// or unix:// URL"),
        ("BROKER_URL", "redis://localhost:99999", "a redis://, rediss:// or unix:// URL"),
        ("BROKER_URL", "redis://[::1", "a redis://, rediss:// or unix:// URL"),
        ("BROKER_URL", "unix://", "a redis://, rediss:// or unix:// URL"),
        ("PREFIX", "", "1 to 64 letters, digits or any of _ . : -"),
        ("PREFIX", "a*", "1 to 64 letters, digits or any of _ . : -"),
        ("PREFIX", "a\n", "1 to 64 letters, digits or any of _ . : -"),
        ("PREFIX", "a" * 65, "1 to 64 letters, digits or any of _ . : -"),
        ("IMAGE_ROOT", "", "an absolute path"),
        ("IMAGE_ROOT", "photos", "an absolute path"),
        ("IMAGE_ROOT", "~/photos", "an absolute path"),
        ("DEVICE", "gpu", "auto, cpu, cuda, or CUDA devices such as cuda:0,cuda:1"),
        ("DEVICE", "cuda:0,cpu", "auto, cpu, cuda, or CUDA devices such as cuda:0,cuda:1"),
        ("RUNTIME", "tensorflow", "auto or onnxruntime or torch"),
        ("PRECISION", "f64", "auto or f32 or bf16 or f16 or int8"),
        ("LOG_FORMAT", "xml", "text or json"),
        ("METRICS_PORT", "0", "a port from 1 to 65535, or an address and a port"),
        ("METRICS_PORT", "65536", "a port from 1 to 65535, or an address and a port"),
        ("METRICS_PORT", "http://0.0.0.0:80", "a port from 1 to 65535, or an address and a port"),
        ("METRICS_PORT", "0.0.0.0:", "a port from 1 to 65535, or an address and a port"),
        ("MODEL", "", "a model's name or a checkpoint file"),
        ("PROCESSES", "two", "a whole number"),
        ("CHUNK", "", "a whole number"),
        ("CHUNK", "1.5", "a whole number"),
        ("CHUNK", "9" * 5000, "a whole number"),
    ],
)
def test_an_invalid_value_of_a_setting_is_refused_with_the_valid_ones(variable: str, value: str, wanted: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({ENV_PREFIX + variable: value})
    check_message(error.value, f"{ENV_PREFIX}{variable} is {value!r}", wanted)


@pytest.mark.parametrize("name", ["CHUNK", "MAX_PIXELS", "MAX_BYTES", "BATCH_SECONDS", "PUBLISH_SECONDS", "RESULT_TTL"])
@pytest.mark.parametrize("value", [0, -1, 10**18])
def test_a_number_out_of_bounds_is_refused_with_the_bounds(name: str, value: int) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({ENV_PREFIX + name: str(value)})
    check_message(error.value, f"PIGEONHOLE_{name} is {value}", "from 1 to 1000000000000")


@pytest.mark.parametrize(
    ("port", "address"),
    [("", None), ("9100", ("127.0.0.1", 9100)), ("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:65535", ("::1", 65535))],
)
def test_metrics_are_served_on_loopback_by_default(port: str, address: tuple[str, int] | None) -> None:
    assert Settings(metrics_port=port).metrics_address == address


def test_a_negative_number_of_processes_is_refused() -> None:
    assert Settings(processes=0).processes == 0
    with pytest.raises(SettingsError, match=r"PIGEONHOLE_PROCESSES is -1: .* from 0"):
        Settings(processes=-1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://user@localhost/0", "redis://user@localhost/0"),
        ("redis://:secret@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("rediss://user:secret@[::1]:6379/0?ssl_ca_certs=/ca", "rediss://user:***@[::1]:6379/0?ssl_ca_certs=/ca"),
        ("redis://user:@localhost", "redis://user:***@localhost"),
        ("redis://user:se%40cr%2Fet@localhost", "redis://user:***@localhost"),
        ("redis://user:se@cr:et@localhost", "redis://user:***@localhost"),
        ("redis://user:se/cr#e?t@localhost", "redis://user:***@localhost"),
        ("redis://user:se\ncret@localhost", "redis://user:***@localhost"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix:///run/a:b@c.sock", "unix:///run/a:b@c.sock"),
        ("unix://user:secret@/run/redis.sock?db=1", "unix://user:***@/run/redis.sock?db=1"),
        ("redis://localhost?db=1&password=secret&x=1", "redis://localhost?db=1&password=***&x=1"),
        ("user:secret@localhost:6379", "user:***@localhost:6379"),
        ("http://user:secret@localhost", "http://user:***@localhost"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown


@given(st.text(min_size=4, max_size=20), st.sampled_from(["redis://", "rediss://", "amqp://", ""]))
def test_no_password_is_shown_however_it_is_written(password: str, scheme: str) -> None:
    url = f"{scheme}user:<<{password}>>@localhost:6379/0"
    assert masked(url) == f"{scheme}user:***@localhost:6379/0"


def test_settings_are_printed_without_the_password_but_contain_it() -> None:
    settings = Settings(broker_url="redis://user:hunter2@localhost:6379/0")
    assert "hunter2" not in f"{settings} {settings!r}"
    assert "broker_url='redis://user:***@localhost:6379/0'" in repr(settings)
    assert "prefix='pigeonhole'" in repr(settings)
    assert Settings.from_environment(settings.to_environment()).broker_url == "redis://user:hunter2@localhost:6379/0"


@pytest.mark.parametrize("url", ["http://user:hunter2@localhost", "user:hunter2@localhost", "redis://:hun/ter2@l:x"])
def test_a_refused_url_is_shown_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings(broker_url=url)
    assert "ter2" not in str(error.value)
    assert "***@" in str(error.value)
