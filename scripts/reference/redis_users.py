"""docs/reference/redis-users.md: the Redis commands of each user, from deploy/redis_users.py."""

from deploy.redis_users import BOTH, WORKER
from scripts.reference.markdown import table

HEAD = """# Redis users

```console
$ python deploy/redis_users.py pigeonhole producer.password worker.password >>/etc/redis/users.acl
```

This prints two Redis users with the least rights that Pigeonhole needs. Each has one password, keys that begin with the
prefix, no channel, and only the commands below. [Security](../security.md#two-redis-users) explains how to use them.
`make docs` writes this page.
"""


def written() -> str:
    """Return the page."""
    return "\n".join(
        [
            HEAD,
            table(("both users", "for"), _rows(BOTH)),
            table(("the worker also", "for"), _rows(WORKER)),
        ]
    )


def _rows(commands: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"`{name}`".replace("|", r"\|"), reason) for name, reason in commands.items()]
