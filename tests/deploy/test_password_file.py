"""The password of Redis in a file, such as a container's secret."""

from pathlib import Path

import pytest

from pigeonhole.errors import SettingsError
from pigeonhole.ledger.queue.celery_app import configure
from pigeonhole.ledger.redis.client import connect
from pigeonhole.settings import Settings


def _from(url: str, file: Path) -> Settings:
    return Settings.from_environment(
        {"PIGEONHOLE_BROKER_URL": url, "PIGEONHOLE_BROKER_PASSWORD_FILE": str(file), "HOME": "/"}
    )


def test_every_connection_uses_the_password_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pass word?&"
    file.write_text("p@ss/w:rd %#\n", encoding="utf-8")
    settings = _from("redis://redis:6379/3", file)
    arguments = connect(settings.broker_url).connection_pool.connection_kwargs
    assert arguments["credential_provider"].get_credentials() == ("p@ss/w:rd %#",)
    assert (arguments["host"], arguments["port"], arguments["db"]) == ("redis", 6379, 3)
    shown = configure(settings).connection().as_uri(include_password=True)
    assert shown == "redis://:p%40ss%2Fw%3Ard%20%25%23@redis:6379/3", "Flower connects with this URL"


def test_the_user_of_the_url_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    for url in ("rediss://producer@redis/0", "unix://producer@/redis.sock?db=1", "redis://redis?username=producer"):
        arguments = connect(_from(url, file).broker_url).connection_pool.connection_kwargs
        assert arguments["credential_provider"].get_credentials() == ("producer", "secret")
        assert not {"username", "password"} & arguments.keys()


def test_the_password_is_not_shown_and_the_settings_survive_a_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    settings = _from("redis://redis/0", file)
    assert "secret" not in repr(settings)
    assert Settings.from_environment(settings.to_environment()) == settings


def test_without_a_url_the_password_file_is_not_read() -> None:
    assert _from("", Path("/nowhere")).broker_url == ""


def test_the_error_names_a_password_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(SettingsError) as caught:
        _from("redis://redis/0", missing)
    assert f"PIGEONHOLE_BROKER_PASSWORD_FILE is {str(missing)!r}" in str(caught.value)
    assert "No such file or directory" in str(caught.value)


def test_a_password_in_both_the_url_and_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    with pytest.raises(SettingsError, match=r"redis://:\*\*\*@redis/0"):
        _from("redis://:other@redis/0", file)
