"""One function retries all transient errors."""

import itertools
import math

import pytest

from pigeonhole.retry import COMMAND, RetryPolicy, outage, retry

AWAY = ConnectionError("away")
POLICY = RetryPolicy(retries=4, first=0.1, step=0.2, longest=0.4)


class Step:
    """Fails a number of times, and then returns the number of tries."""

    def __init__(self, failures: float) -> None:
        self.tries, self._failures = 0, failures

    def __call__(self) -> int:
        self.tries += 1
        if self.tries <= self._failures:
            raise AWAY
        return self.tries


def is_transient(exc: Exception) -> bool:
    return isinstance(exc, ConnectionError)


def test_there_is_a_growing_pause_for_each_retry() -> None:
    assert list(POLICY.pauses()) == pytest.approx([0.1, 0.3, 0.4, 0.4])
    assert len(list(COMMAND.pauses())) == COMMAND.retries
    assert list(itertools.islice(outage(60).pauses(), 3)) == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("failures", [0, 1, 4])
def test_a_step_is_retried_until_it_succeeds(failures: int) -> None:
    slept: list[float] = []
    waited: list[Exception] = []
    assert retry(Step(failures), POLICY, is_transient, waited.append, slept.append) == failures + 1
    assert slept == list(POLICY.pauses())[:failures]
    assert waited == [AWAY] * failures


def test_after_the_last_retry_the_error_is_raised() -> None:
    step, slept = Step(math.inf), list[float]()
    with pytest.raises(ConnectionError):
        retry(step, POLICY, is_transient, sleep=slept.append)
    assert (step.tries, len(slept)) == (5, 4)


@pytest.mark.parametrize("policy", [outage(-1), RetryPolicy(retries=0)])
def test_no_retry_starts_after_the_time_limit_or_the_last_retry(policy: RetryPolicy) -> None:
    step = Step(math.inf)
    with pytest.raises(ConnectionError):
        retry(step, policy, is_transient, sleep=lambda seconds: pytest.fail("the retry waits"))
    assert step.tries == 1


def test_an_error_that_is_not_transient_is_raised_at_once() -> None:
    step = Step(math.inf)
    with pytest.raises(ConnectionError):
        retry(step, POLICY, lambda exc: False, sleep=lambda seconds: pytest.fail("the retry waits"))
    assert step.tries == 1


def test_an_error_that_is_raised_while_waiting_ends_the_retries() -> None:
    def stop(exc: Exception) -> None:
        raise KeyboardInterrupt

    step = Step(math.inf)
    with pytest.raises(KeyboardInterrupt):
        retry(step, outage(600), is_transient, stop)
    assert step.tries == 1


def test_a_pause_that_is_refused_ends_the_retries() -> None:
    step = Step(math.inf)
    with pytest.raises(ConnectionError):
        retry(step, POLICY, is_transient, sleep=lambda seconds: seconds < 0.2)
    assert step.tries == 2
