#!/bin/sh
# Starts Redis with a password: REDIS_PASSWORD if it is set; else the one of the last start; else a new random one. The
# password is in a file on a volume that only the containers that need it mount. It is not in an image or a command line,
# and not in the environment unless it was set there.
set -eu

file=/run/broker/password
if [ -n "${REDIS_PASSWORD:-}" ]; then
    printf '%s' "$REDIS_PASSWORD" >"$file.new"
elif ! [ -s "$file" ]; then
    # 256 bits as hexadecimal digits, which need no quoting in a URL or a shell.
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$file.new"
fi
# Renamed into place, so that no reader sees a part of it. Readable for everyone who mounts the volume, because the other
# containers run as a user that this container does not know.
if [ -e "$file.new" ]; then
    chmod 0444 "$file.new"
    mv -f "$file.new" "$file"
fi
unset REDIS_PASSWORD

# After a crash, the file may end in the middle of a transaction. Redis (6.2, 7.0) skips this part at the next start, but
# leaves it in the file, and would execute it at the start after that: half a commit, much later. So it is removed here.
aof=/data/appendonlydir/appendonly.aof.manifest
if [ -e "$aof" ]; then
    # If the file can't be repaired, print the reason; Redis then refuses to start with its own message.
    said=$(echo y | redis-check-aof --fix "$aof" 2>&1) || echo "$said" >&2
fi

# Redis reads more configuration from its standard input. Each byte is written as \xHH, so that any password works.
# `exec` lets Redis itself receive the signals.
exec redis-server /etc/pigeonhole-redis.conf --maxmemory "${REDIS_MAXMEMORY:-1gb}" - <<END
requirepass "$(od -An -v -tx1 "$file" | tr -d '\n' | sed 's/ /\\x/g')"
END
