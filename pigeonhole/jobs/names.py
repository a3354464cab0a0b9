"""Find the job that a user names by its id, the beginning of its id, or `last`."""

from collections.abc import Sequence
from difflib import get_close_matches

from pigeonhole.errors import UnknownJob, UsageError

#: The name of the newest job.
LAST = "last"
#: The number of jobs that an error message lists.
_MOST = 5
#: The number of wrong characters in an id for which a similar one is suggested: one, plus `difflib`'s rounding.
_WRONG = 1.2
#: The number of characters of the shortest name for which similar ids are suggested.
_SHORTEST = 5


def find_job(name: str, jobs: Sequence[str]) -> str:
    """Return the id of the job that a user names.

    Args:
        name: an id, the beginning of one, or `last`.
        jobs: the ids of all jobs, oldest first.

    Raises:
        UsageError: several jobs match the name, or there is no job yet.
        UnknownJob: no job matches.
    """
    if name == LAST and not jobs:
        raise UsageError("`last` is the newest job, and there is no job yet. Try: `pigeonhole submit SOURCE`")
    if name == LAST:
        return jobs[-1]
    found = [job for job in reversed(jobs) if job.startswith(name)] if name else []
    if name in found:
        return name
    if len(found) > 1:
        more = f" and {len(found) - _MOST:,} more" if len(found) > _MOST else ""
        raise UsageError(
            f"{name!r} matches {len(found):,} jobs: {', '.join(found[:_MOST])}{more}. Type more of the id, or `last` "
            "for the newest job"
        )
    if not found:
        raise UnknownJob(name, _similar(name, jobs))
    return found[0]


def _similar(name: str, jobs: Sequence[str]) -> list[str]:
    """Return the newest jobs whose ids end with a name, or one job whose id begins with a similar text."""
    if len(name) < _SHORTEST:
        return []
    ends = [job for job in reversed(jobs) if job.endswith(name)]
    begins = {job[: len(name)]: job for job in jobs}
    return (ends or [begins[one] for one in get_close_matches(name, begins, 1, 1 - _WRONG / len(name))])[:_MOST]
