"""Write the two Redis users that Pigeonhole needs, with the least each can do its work with.

    python deploy/redis_users.py PREFIX PRODUCER_PASSWORD_FILE WORKER_PASSWORD_FILE >>/etc/redis/users.acl

The lines are those of an `aclfile`, or of redis.conf itself. They hold the passwords' SHA-256, not the passwords.
What was found in use (Redis' MONITOR and ACL LOG, kombu 5.7, redis-py 8.1) is allowed; tests/security/test_acl.py
works with exactly these lines, and tries what they forbid.
"""

import hashlib
import re
import sys
from pathlib import Path

#: Each command and who needs it for what. No categories: what they hold changes from release to release.
BOTH = {
    # the connection
    "ping": "is the connection alive",
    "select": "a database other than 0",
    "multi": "several steps in one",
    "exec": "several steps in one",
    # the ledger's steps; what a script calls is checked as if its caller had called it
    "evalsha": "the ledger's scripts",
    "script|load": "they are loaded where Redis has lost them",
    "time": "Redis' clock is everybody's",
    "del": "what is cancelled or deleted",
    "exists": "has a job expired",
    "expire": "a finished job's keys, an announcement",
    "get": "when the last sweep was",
    "hexists": "is a batch on record",
    "hget": "one batch",
    "hgetall": "a job's record, a worker's announcement, dead letters",
    "hincrby": "a job's counters",
    "hlen": "how many dead letters there are",
    "hmget": "several batches",
    "hset": "a batch's references, its answers",
    "set": "whose turn it is to sweep, and when the last one was",
    "zadd": "what is owed",
    "zcard": "how much is owed",
    "zrange": "jobs, workers, what is owed",
    "zrangebyscore": "what is overdue",
    "zrem": "what is done",
    "zremrangebyscore": "workers that are gone",
    "zscore": "is a batch owed",
    # what Redis says of itself; not the rest of INFO, nor its configuration, which holds passwords
    "info|server": "is its version one that we know",
    "info|memory": "is it full, and would it delete what is owed",
    "info|persistence": "does it keep what is owed when it stops",
    # the queue: whoever waits for a job sweeps, so both publish
    "lpush": "a message",
    "llen": "how many wait",
    "sadd": "kombu's list of queues",
}
WORKER = {
    "brpop": "takes a message",
    "hsetnx": "when the first batch was begun",
}


def line(user: str, password: str, prefix: str, commands: dict[str, str]) -> str:
    """Give one user: only this password, only keys with the prefix, no channel, only these commands."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    # `reset` first: what an earlier line allowed is gone.
    rules = ["reset", "on", f"#{digest}", f"~{prefix}:*", "resetchannels", *(f"+{name}" for name in commands)]
    return " ".join(["user", user, *rules])


def main() -> None:
    """Print both."""
    prefix, *files = sys.argv[1:]
    # It is a pattern for Redis: a star would be every key.
    if len(files) != 2 or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", prefix):
        sys.exit("usage: redis_users.py PREFIX PRODUCER_PASSWORD_FILE WORKER_PASSWORD_FILE")
    producer, worker = (Path(file).read_text(encoding="utf-8").rstrip("\r\n") for file in files)
    if not producer or not worker:
        sys.exit("redis_users.py: an empty password lets anybody in")
    sys.stdout.write(line("producer", producer, prefix, BOTH) + "\n")
    sys.stdout.write(line("worker", worker, prefix, BOTH | WORKER) + "\n")


if __name__ == "__main__":
    main()
