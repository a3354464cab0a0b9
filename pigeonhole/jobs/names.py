"""How a user names a job: by its id, the beginning of its id, or as `last`."""

from collections.abc import Sequence
from difflib import get_close_matches

from pigeonhole.errors import UnknownJob, UsageError

#: The name of the newest job.
LAST = "last"
#: How many jobs an error lists.
_MOST = 5
#: The letters that may be wrong in an id that is misspelt: one, and some room for `difflib`'s rounding.
_WRONG = 1.2
#: The letters that a name needs to be like an id.
_SHORTEST = 5


def find_job(name: str, jobs: Sequence[str]) -> str:
    """Return the id of the job that a name stands for.

    Args:
        name: an id, the beginning of one, or `last`.
        jobs: the ids of all jobs, oldest first.

    Raises:
        UsageError: the name fits several jobs, or there is no job yet.
        UnknownJob: it fits none.
    """
    if name == LAST and not jobs:
        raise UsageError("there is no job, so `last` names none: `pigeonhole submit` begins one")
    if name == LAST:
        return jobs[-1]
    found = [job for job in reversed(jobs) if job.startswith(name)] if name else []
    if name in found:
        return name
    if len(found) > 1:
        more = f" and {len(found) - _MOST:,} more" if len(found) > _MOST else ""
        raise UsageError(
            f"{name!r} fits {len(found):,} jobs: {', '.join(found[:_MOST])}{more}; give more of the id, or `last` for "
            "the newest job"
        )
    if not found:
        raise UnknownJob(name, _similar(name, jobs))
    return found[0]


def _similar(name: str, jobs: Sequence[str]) -> list[str]:
    """Return the newest jobs whose ids end with a name, or the one that begins almost like it."""
    if len(name) < _SHORTEST:
        return []
    ends = [job for job in reversed(jobs) if job.endswith(name)]
    begins = {job[: len(name)]: job for job in jobs}
    return (ends or [begins[one] for one in get_close_matches(name, begins, 1, 1 - _WRONG / len(name))])[:_MOST]
