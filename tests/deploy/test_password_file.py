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


def test_a_password_file_becomes_the_password_of_every_connection(tmp_path: Path) -> None:
    file = tmp_path / "pass word?&"
    file.write_text("p@ss/w:rd %#\n", encoding="utf-8")
    settings = _from("redis://redis:6379/3", file)
    arguments = connect(settings.broker_url).connection_pool.connection_kwargs
    assert arguments["credential_provider"].get_credentials() == ("p@ss/w:rd %#",)
    assert (arguments["host"], arguments["port"], arguments["db"]) == ("redis", 6379, 3)
    shown = configure(settings).connection().as_uri(include_password=True)
    assert shown == "redis://:p%40ss%2Fw%3Ard%20%25%23@redis:6379/3", "Flower connects by it"


def test_the_user_in_the_url_stays(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    for url in ("rediss://producer@redis/0", "unix://producer@/redis.sock?db=1", "redis://redis?username=producer"):
        arguments = connect(_from(url, file).broker_url).connection_pool.connection_kwargs
        assert arguments["credential_provider"].get_credentials() == ("producer", "secret")
        assert not {"username", "password"} & arguments.keys()


def test_neither_the_password_nor_its_file_is_shown_or_handed_on_twice(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    settings = _from("redis://redis/0", file)
    assert "secret" not in repr(settings)
    assert Settings.from_environment(settings.to_environment()) == settings


def test_without_a_url_the_file_is_not_even_read() -> None:
    assert _from("", Path("/nowhere")).broker_url == ""


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(SettingsError) as refusal:
        _from("redis://redis/0", missing)
    assert str(refusal.value) == (
        f"PIGEONHOLE_BROKER_PASSWORD_FILE is {str(missing)!r}: it must be a file that can be read "
        "(No such file or directory)"
    )


def test_two_passwords_are_one_too_many(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    with pytest.raises(SettingsError, match="left out, since redis://:\\*\\*\\*@redis/0 has a password already"):
        _from("redis://:other@redis/0", file)
