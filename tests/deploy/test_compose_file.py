"""The permissions of each container in docker-compose.yml; `make compose-test` checks them on an engine."""

import re
import shlex
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_unprivileged(name: str) -> None:
    service = SERVICES[name]
    assert not re.match(r"(0|root)\b", _default(str(service["user"])))
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert re.fullmatch(r"\d+[mg]", _default(service["mem_limit"]))
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"} & service.keys()


def test_no_image_runs_as_root() -> None:
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]:
        name = stage.split("\n")[0].split(" AS ")[1]
        if name in {_default(service["build"]["target"]) for service in SERVICES.values()}:
            [user] = re.findall(r"^USER (\d+):\d+$", stage, flags=re.MULTILINE)
            assert int(user) > 0


def test_redis_is_reachable_only_from_an_internal_network() -> None:
    redis = SERVICES["redis"]
    assert "ports" not in redis
    assert redis["networks"] == ["broker"]
    assert COMPOSE["networks"]["broker"] == {"internal": True}
    on_it = {name for name, service in SERVICES.items() if "broker" in service["networks"]}
    assert on_it == {"redis", "worker", "worker-gpu", "producer", "flower", "prometheus"}


def test_only_flower_and_prometheus_publish_ports_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"flower", "prometheus"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_prometheus_scrapes_the_metrics_port_of_the_workers() -> None:
    [target] = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"][0]["dns_sd_configs"]
    assert target["names"] == ["worker"]
    assert SERVICES["worker"]["environment"]["PIGEONHOLE_METRICS_PORT"] == f"0.0.0.0:{target['port']}"


def test_only_services_that_need_the_password_mount_its_file() -> None:
    mounting = {
        name for name, service in SERVICES.items() if any("broker-password" in str(v) for v in _mounts(service))
    }
    assert mounting == {"redis", "worker", "worker-gpu", "producer", "flower"}
    for name in mounting - {"redis"}:
        assert {"target": "/run/broker", "read_only": True}.items() <= _mount(SERVICES[name], "broker-password").items()
        url = SERVICES[name]["environment"]["PIGEONHOLE_BROKER_URL"]
        assert "@" not in url
        assert "password" not in url


def test_no_command_line_contains_a_password() -> None:
    lines = [line for line in DOCKERFILE.split("\n") if line.startswith(("ENTRYPOINT", "CMD"))]
    lines += [str(service.get("command", "")) for service in SERVICES.values()]
    script = (ROOT / "deploy" / "redis.sh").read_text(encoding="utf-8")
    lines += [line for line in script.split("\n") if line.startswith("exec ")]
    assert any("redis-server" in line for line in lines)
    assert any("flower" in line for line in lines)
    for line in lines:
        assert "://" not in line
        assert not {"--requirepass", "-a", "--pass", "--broker", "-b"} & set(shlex.split(line.partition("<<")[0]))


def test_images_and_checkpoints_are_mounted_read_only() -> None:
    for name, volume in (
        ("worker", "/images"),
        ("worker", "/models"),
        ("producer", "/images"),
        ("training", "/images"),
    ):
        assert _mount(SERVICES[name], volume)["read_only"] is True


def test_no_container_mounts_the_socket_of_the_engine() -> None:
    assert "docker.sock" not in str(COMPOSE)


def _default(value: str) -> str:
    """Return the default value of `${NAME:-value}`."""
    named = re.fullmatch(r"\$\{\w+:?-(.*)\}", value)
    return named[1] if named else value


def _mounts(service: dict[str, Any]) -> list[Any]:
    mounts: list[Any] = service.get("volumes", [])
    return mounts


def _mount(service: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the mount with this source or target."""
    [found] = [one for one in _mounts(service) if isinstance(one, dict) and name in (one["source"], one["target"])]
    mount: dict[str, Any] = found
    return mount
