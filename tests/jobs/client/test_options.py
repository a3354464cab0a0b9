"""The broker, the model and the embedded processes of a client."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole import Client
from pigeonhole.embedded.servers import embedded
from pigeonhole.errors import BrokerUnreachable, EmbeddedFailed, SettingsError, UsageError
from pigeonhole.settings import Settings
from tests.conftest import children
from tests.messages import check_message


def test_arguments_override_the_settings_of_the_environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIGEONHOLE_BROKER_URL", f"unix://{tmp_path}/no.sock")
    monkeypatch.setenv("PIGEONHOLE_PREFIX", settings.prefix)
    monkeypatch.setenv("PIGEONHOLE_IMAGE_ROOT", str(tmp_path))
    with pytest.raises(BrokerUnreachable, match=r"no\.sock"):
        Client()
    with Client(settings.broker_url, model="letters") as client:
        assert _settings_of(client) == replace(settings, model="letters", image_root=str(tmp_path))
    assert _settings_of(Client("")).image_root == "/", "embedded workers may read every file of the user"
    assert _settings_of(Client("", image_root=tmp_path)).image_root == str(tmp_path)


def _settings_of(client: Client) -> Settings:
    return client._connection.settings


def test_the_password_file_of_the_environment_is_used_for_the_broker_of_the_argument(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    monkeypatch.setenv("PIGEONHOLE_BROKER_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(BrokerUnreachable) as away:
        Client("redis://127.0.0.1:1/0")
    assert f"redis://127.0.0.1:1/0?password_file={tmp_path / 'password'}" in str(away.value)
    assert "s3cret" not in str(away.value)


@pytest.mark.parametrize("model", ["org/letters", "Letters", "let ters", "x" * 65, "é", "/models/Letters.safetensors"])
def test_an_invalid_model_name_is_refused(settings: Settings, photos: Path, model: str) -> None:
    with Client(settings=settings, model=model) as client:
        with pytest.raises(UsageError) as error:
            client.submit("photos")
        check_message(error.value, repr(model), "1 to 64 lower-case letters", ".safetensors")
        assert client.jobs() == []
    with pytest.raises(SettingsError, match=r"PIGEONHOLE_MODEL.*''"):
        Client(settings=settings, model="")


def test_a_job_can_be_submitted_before_a_worker_serves_its_model(settings: Settings, photos: Path) -> None:
    with Client(settings=settings, model="later.v2") as client:
        assert client.status(client.submit("photos")).model == "later.v2"


def test_a_client_whose_embedded_redis_is_killed_raises_an_error_at_once() -> None:
    with Client("") as client:
        assert client.jobs() == []
        (supervisor,) = children(os.getpid(), b"pigeonhole.embedded.supervisor")
        (redis,) = children(supervisor, b"redis")
        os.kill(redis, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(EmbeddedFailed, match=r"redis.* exit code -9"):
                client.jobs()


def test_embedded_workers_do_not_open_the_metrics_port(monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[Settings]()

    def start(own: Settings, folder: str, commands: list[str]) -> None:
        started.append(own)
        raise EmbeddedFailed("not started")

    monkeypatch.setattr("pigeonhole.embedded.servers._start_supervisor", start)
    with pytest.raises(EmbeddedFailed, match="not started"), embedded(Settings(metrics_port="9100")):
        pass
    assert [own.metrics_port for own in started] == [""]
