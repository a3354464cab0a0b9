"""Write the two Redis users that Pigeonhole needs, with the fewest permissions.

    python deploy/redis_users.py PREFIX PRODUCER_PASSWORD_FILE WORKER_PASSWORD_FILE >>/etc/redis/users.acl

The lines are for an `aclfile`, or for redis.conf. They contain the SHA-256 of the passwords, not the passwords. The
allowed commands are those in use (Redis' MONITOR and ACL LOG, kombu 5.7, redis-py 8.1). tests/security/test_acl.py runs
jobs with these users, and tests that other commands are refused.
"""

import hashlib
import re
import sys
from pathlib import Path

#: Command → its use, for producers and workers. No command categories, because their content changes between releases.
BOTH = {
    # the connection
    "ping": "check the connection",
    "select": "use a database other than 0",
    "multi": "begin a transaction",
    "exec": "commit a transaction",
    # the ledger; Redis checks the commands in a script as if the caller had sent them
    "evalsha": "run the ledger's scripts",
    "script|load": "load the scripts again after Redis has lost them",
    "time": "use the clock of Redis in all processes",
    "del": "remove cancelled and deleted jobs",
    "exists": "check whether a job has expired",
    "expire": "let a finished job or a worker's announcement expire",
    "get": "read the time of the last sweep",
    "hexists": "check whether a batch is recorded",
    "hget": "read one batch",
    "hgetall": "read a job's record, a worker's announcement, dead letters",
    "hincrby": "count in a job's record",
    "hlen": "count dead letters",
    "hmget": "read several batches",
    "hset": "write a batch's references and results",
    "set": "reserve a sweep, and write the time of the last one",
    "zadd": "add pending batches",
    "zcard": "count pending batches",
    "zrange": "list jobs, workers and pending batches",
    "zrangebyscore": "list overdue batches",
    "zrem": "remove finished batches",
    "zremrangebyscore": "remove lost workers",
    "zscore": "check whether a batch is pending",
    # parts of INFO; not the rest of it, and not the configuration, which contains passwords
    "info|server": "check the version of Redis",
    "info|memory": "check whether Redis is full, and whether it would delete pending batches",
    "info|persistence": "check whether Redis keeps pending batches when it stops",
    # the queue; producers and workers both publish, because both sweep
    "lpush": "publish a message",
    "llen": "count waiting messages",
    "sadd": "add to kombu's list of queues",
}
WORKER = {
    "brpop": "take a message",
    "hsetnx": "write the start time of the first batch",
}


def line(user: str, password: str, prefix: str, commands: dict[str, str]) -> str:
    """Return the line of one user, which allows only these commands, only on keys with the prefix.

    Args:
        user: the user's name.
        password: the user's only password.
        prefix: the prefix of all keys.
        commands: the allowed commands.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    # `reset` revokes permissions of an earlier line.
    rules = ["reset", "on", f"#{digest}", f"~{prefix}:*", "resetchannels", *(f"+{name}" for name in commands)]
    return " ".join(["user", user, *rules])


def main() -> None:
    """Print the lines of both users."""
    prefix, *files = sys.argv[1:]
    # Redis treats it as a pattern, in which a star would match every key.
    if len(files) != 2 or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", prefix):
        sys.exit("usage: redis_users.py PREFIX PRODUCER_PASSWORD_FILE WORKER_PASSWORD_FILE")
    producer, worker = (Path(file).read_text(encoding="utf-8").rstrip("\r\n") for file in files)
    if not producer or not worker:
        sys.exit("redis_users.py: an empty password lets anybody in")
    sys.stdout.write(line("producer", producer, prefix, BOTH) + "\n")
    sys.stdout.write(line("worker", worker, prefix, BOTH | WORKER) + "\n")


if __name__ == "__main__":
    main()
