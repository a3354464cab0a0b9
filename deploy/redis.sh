#!/bin/sh
# Starts Redis with a password that nobody had to make up: the one given as REDIS_PASSWORD; else the one from last
# time; else a new, random one. It lies in a file on a volume that only the containers mount which need it, and
# stands in no image, no command line and (unless it was given that way) no environment.
set -eu

file=/run/broker/password
if [ -n "${REDIS_PASSWORD:-}" ]; then
    printf '%s' "$REDIS_PASSWORD" >"$file.new"
elif ! [ -s "$file" ]; then
    # 256 bits, as hexadecimal digits: no character that a URL or a shell would take amiss.
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$file.new"
fi
# Renamed into place, so that nobody ever reads half of one. Readable for all who mount the volume: they run as a
# user that this container does not know.
if [ -e "$file.new" ]; then
    chmod 0444 "$file.new"
    mv -f "$file.new" "$file"
fi
unset REDIS_PASSWORD

# A crash may cut a write off in the middle of a transaction. Redis (6.2, 7.0) leaves it out when it starts, but keeps
# it in the file and would carry out that half at the start after: half a commit, much later. So it is cut out first.
aof=/data/appendonlydir/appendonly.aof.manifest
if [ -e "$aof" ]; then
    # What can't be mended so is told, and Redis refuses it in its own words.
    said=$(echo y | redis-check-aof --fix "$aof" 2>&1) || echo "$said" >&2
fi

# Redis reads more configuration from its standard input. Each byte is written as \xHH, so any password will do.
# `exec`: Redis itself gets the signals.
exec redis-server /etc/pigeonhole-redis.conf --maxmemory "${REDIS_MAXMEMORY:-1gb}" - <<END
requirepass "$(od -An -v -tx1 "$file" | tr -d '\n' | sed 's/ /\\x/g')"
END
