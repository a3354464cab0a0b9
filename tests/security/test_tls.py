"""TLS with real certificates: only valid clients connect, and others get an error message with the fault."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pigeonhole.errors import BrokerUnreachable, ExitCode
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.settings import Settings
from tests.conftest import ROOT, wait_for
from tests.security.conftest import Authority, Guarded, produce

pytestmark = pytest.mark.tls


@pytest.fixture(scope="module")
def urls(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return faulty URLs by their fault."""
    assert guarded.authority is not None
    other = Authority(tmp_path_factory.mktemp("other"))
    expired, foreign = guarded.authority.sign("expired", days=-1), other.sign("other")
    good = guarded.url("producer")
    return {
        "an authority that did not sign the server's certificate": guarded.url(
            "producer", ssl_ca_certs=other.own.certificate
        ),
        "no authority but the system's": guarded.url("producer", ssl_ca_certs=None),
        "no client certificate": guarded.url("producer", ssl_certfile=None, ssl_keyfile=None),
        "an expired client certificate": guarded.url(
            "producer", ssl_certfile=expired.certificate, ssl_keyfile=expired.key
        ),
        "another authority's client certificate": guarded.url(
            "producer", ssl_certfile=foreign.certificate, ssl_keyfile=foreign.key
        ),
        "a host that the certificate is not for": guarded.url("producer", host="127.0.0.1"),
        "no TLS": good.partition("?")[0].replace("rediss://", "redis://"),
        "a wrong password": good.replace("pr%3Bod", "wrong"),
        "a key that is not the certificate's": guarded.url("producer", ssl_keyfile=expired.key),
        "a file that is not there": guarded.url("producer", ssl_certfile=Path("/nowhere.pem")),
    }


#: Fault → what the error message names.
PARTS = {
    "an authority that did not sign the server's certificate": "CERTIFICATE_VERIFY_FAILED",
    "no authority but the system's": "CERTIFICATE_VERIFY_FAILED",
    # Redis closes the connection; the client's error depends on timing.
    "no client certificate": "rediss://",
    "an expired client certificate": "rediss://",
    "another authority's client certificate": "rediss://",
    "a host that the certificate is not for": "certificate is not valid for '127.0.0.1'",
    "no TLS": "redis://",
    "a wrong password": "user and password",
    "a key that is not the certificate's": "KEY_VALUES_MISMATCH",
    "a file that is not there": "No such file or directory",
}


@pytest.fixture(scope="module")
def refusals(urls: dict[str, str]) -> dict[str, list[BrokerUnreachable]]:
    """Return the errors of ledger and queue by fault; the attempts run in parallel, because each takes seconds."""

    def attempt(url: str) -> list[BrokerUnreachable]:
        settings = Settings(broker_url=url, prefix="guarded")
        with pytest.raises(BrokerUnreachable) as of_ledger:
            Ledger(settings).ping()
        with pytest.raises(BrokerUnreachable) as of_queue:
            Queue(settings).depth("digits")
        return [of_ledger.value, of_queue.value]

    with ThreadPoolExecutor(len(urls)) as pool:
        return dict(zip(urls, pool.map(attempt, urls.values()), strict=True))


@pytest.mark.parametrize("fault", PARTS)
def test_ledger_and_queue_report_the_fault_without_the_password(
    fault: str, refusals: dict[str, list[BrokerUnreachable]]
) -> None:
    for refusal in refusals[fault]:
        assert PARTS[fault] in str(refusal)
        assert "s3cret" not in str(refusal)


@pytest.mark.parametrize("fault", ["no client certificate", "a host that the certificate is not for"])
def test_a_command_ends_with_one_line_and_exit_code_4(fault: str, urls: dict[str, str]) -> None:
    ended = produce(Settings(broker_url=urls[fault]), "status")
    assert ended.returncode == ExitCode.BROKER_UNREACHABLE
    message = ended.stderr.decode()
    assert message.startswith("pigeonhole: ")
    assert message.count("\n") == 1
    assert PARTS[fault] in message
    assert "s3cret" not in message


def test_a_worker_waits_after_a_certificate_error_and_logs_it(
    guarded: Guarded, urls: dict[str, str], tmp_path: Path
) -> None:
    environment = os.environ | guarded.settings("worker").to_environment()
    environment["PIGEONHOLE_BROKER_URL"] = urls["a host that the certificate is not for"]
    log = tmp_path / "worker.log"
    with log.open("wb") as file:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pigeonhole", "worker"], cwd=ROOT, env=environment, stdout=file, stderr=file
        )
    try:
        wait_for(lambda: b"certificate is not valid for '127.0.0.1'" in log.read_bytes(), "the worker's notice")
        assert "s3cret" not in log.read_text()
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()
