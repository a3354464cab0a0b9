# Targets: redis, producer, monitoring (Flower), prometheus, worker (ONNX Runtime), worker-torch (torch too, for GPUs),
# training (torch, torchvision and matplotlib).
#
#   docker build --target worker --tag pigeonhole-worker .
#
# It needs nothing that only BuildKit has, so that docker-compose 1.29's own builder can use it too. What changes
# rarely comes first: an edit of the source rebuilds nothing but the last, small layer of each target.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG REDIS_IMAGE=redis:7-bookworm

# ---------------------------------------------------------------------------------------------------------------------
FROM ${REDIS_IMAGE} AS redis

# Volumes take their first owner from the image. The names of users differ between base images; 999 is what the
# official one runs as, so a volume that it filled can be used on.
RUN install -d -o 999 -g 999 /data /run/broker
COPY deploy/redis.conf /etc/pigeonhole-redis.conf
COPY deploy/redis.sh /usr/local/bin/pigeonhole-redis
# The mode that the checkout has may be anything; this one lets every user run and read them.
RUN chmod 0555 /usr/local/bin/pigeonhole-redis && chmod 0444 /etc/pigeonhole-redis.conf

USER 999:999
WORKDIR /data
# Redis ends in order on SIGTERM: it syncs its file and closes its connections.
STOPSIGNAL SIGTERM
ENTRYPOINT ["pigeonhole-redis"]
# What the base image would hand over as its own command.
CMD []

# ---------------------------------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS base

# PYTHONUNBUFFERED: what is printed is in the log when it happens, also when the process is killed right after.
# PYTHONDONTWRITEBYTECODE: the root is read-only when it runs, and pip has compiled everything already.
# HOME: whoever runs it (any uid will do) can write nowhere else.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HOME=/tmp \
    PATH=/opt/pigeonhole/bin:$PATH
# An environment of its own has the same layout whatever distribution the base image is. The user gets a name since
# Celery takes a group without one for root's, and warns; any other uid serves as well, but for that warning.
RUN python3 -m venv /opt/pigeonhole \
    && useradd --uid 1000 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pigeonhole

# ---------------------------------------------------------------------------------------------------------------------
# What each target needs, one file each. The later stages copy those files, not pyproject.toml: an edit there
# that changes no dependency installs none of them again.
FROM base AS requirements
WORKDIR /build
COPY pyproject.toml deploy/requirements.py ./
RUN python requirements.py /requirements

# ---------------------------------------------------------------------------------------------------------------------
FROM base AS dependencies
COPY --from=requirements /requirements/base.txt /requirements/
# As root, pip warns about root; this is an environment of its own.
RUN pip install --root-user-action=ignore --requirement /requirements/base.txt

# ---------------------------------------------------------------------------------------------------------------------
# The package itself, made once, as files to copy: no target holds the sources or what builds them.
FROM base AS package
COPY --from=requirements /requirements/build.txt /requirements/
RUN pip install --root-user-action=ignore --requirement /requirements/build.txt
WORKDIR /build
COPY pyproject.toml README* LICENSE* ./
COPY pigeonhole pigeonhole
COPY producer producer
COPY worker worker
COPY training training
# Mode bits of the checkout (a umask of 077, say) must not decide who may read the installed files.
RUN pip install --root-user-action=ignore --no-build-isolation --no-deps --prefix=/install . \
    && chmod -R u=rwX,go=rX /install

# ---------------------------------------------------------------------------------------------------------------------
FROM dependencies AS producer
# Nobody can add them where it runs, and `-o results.parquet` and `report` are for everybody.
COPY --from=requirements /requirements/parquet.txt /requirements/report.txt /requirements/
RUN pip install --root-user-action=ignore --requirement /requirements/parquet.txt --requirement /requirements/report.txt
COPY --from=package /install /opt/pigeonhole
# A number, so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 1000:1000
WORKDIR /
# As Ctrl-C: it says which job it followed and how to go on. SIGTERM would end it without a word.
STOPSIGNAL SIGINT
ENTRYPOINT ["pigeonhole"]
CMD ["--help"]

# ---------------------------------------------------------------------------------------------------------------------
FROM dependencies AS monitoring
COPY --from=requirements /requirements/monitoring.txt /requirements/
RUN pip install --root-user-action=ignore --requirement /requirements/monitoring.txt
COPY --from=package /install /opt/pigeonhole
COPY deploy/flower_app.py /opt/monitoring/
RUN chmod -R u=rwX,go=rX /opt/monitoring
USER 1000:1000
WORKDIR /opt/monitoring
# Flower closes its server and its connection to Redis on SIGTERM.
STOPSIGNAL SIGTERM
# Within its container it must listen on all addresses; what is published, and where, is compose's matter.
ENTRYPOINT ["celery", "--app=flower_app", "flower", "--address=0.0.0.0", "--port=5555"]

# ---------------------------------------------------------------------------------------------------------------------
# Debian's Prometheus, so that there is no third base image to trust and keep up to date.
FROM ${PYTHON_IMAGE} AS prometheus
RUN apt-get update \
    && apt-get install --yes --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/prometheus.yml deploy/alerts.yml /etc/pigeonhole/
# A volume takes this mode when it is new: whatever uid runs it can write there.
RUN chmod -R u=rwX,go=rX /etc/pigeonhole && install -d -m 1777 /prometheus
USER 1000:1000
WORKDIR /prometheus
# It writes what it has in memory to its volume.
STOPSIGNAL SIGTERM
ENTRYPOINT ["prometheus", "--config.file=/etc/pigeonhole/prometheus.yml", "--storage.tsdb.path=/prometheus"]
CMD ["--storage.tsdb.retention.time=15d", "--web.listen-address=0.0.0.0:9090"]

# ---------------------------------------------------------------------------------------------------------------------
FROM dependencies AS runtime
COPY --from=requirements /requirements/worker.txt /requirements/metrics.txt /requirements/
RUN pip install --root-user-action=ignore --requirement /requirements/worker.txt --requirement /requirements/metrics.txt

# ---------------------------------------------------------------------------------------------------------------------
FROM runtime AS worker
COPY --from=package /install /opt/pigeonhole
USER 1000:1000
WORKDIR /
# Celery's warm shutdown: it takes nothing new and finishes what it has in hand. (SIGQUIT would drop that.)
STOPSIGNAL SIGTERM
ENTRYPOINT ["pigeonhole"]
CMD ["worker"]

# ---------------------------------------------------------------------------------------------------------------------
FROM runtime AS torch
# TORCH can pin: torch==2.13.0, say. TORCH_INDEX: where its CPU builds are, a tenth of the size of those with CUDA;
# empty for the default index (and CUDA). Where that index can't be reached, or lacks what was asked for, the
# default one serves; that is no error, so none is shown.
ARG TORCH=torch
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN if [ -n "$TORCH_INDEX" ] \
        && python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' "$TORCH_INDEX/torch/" 2>/dev/null \
        && pip install --root-user-action=ignore --index-url "$TORCH_INDEX" "$TORCH" 2>/dev/null; \
    then echo "torch: from $TORCH_INDEX"; \
    else pip install --root-user-action=ignore "$TORCH" && echo "torch: from the default index"; \
    fi

# ---------------------------------------------------------------------------------------------------------------------
FROM torch AS worker-torch
COPY --from=package /install /opt/pigeonhole
USER 1000:1000
WORKDIR /
STOPSIGNAL SIGTERM
ENTRYPOINT ["pigeonhole"]
CMD ["worker"]

# ---------------------------------------------------------------------------------------------------------------------
FROM torch AS training
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# With what `train --report` draws by: nobody can add it where it runs.
COPY --from=requirements /requirements/training-report.txt /requirements/
# torchvision must be of the same build as torch: the same index, and a torch that stays as it is.
RUN pip freeze | grep '^torch==' >/requirements/installed.txt; \
    if [ -n "$TORCH_INDEX" ] \
        && python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' "$TORCH_INDEX/torchvision/" 2>/dev/null \
        && pip install --root-user-action=ignore --constraint /requirements/installed.txt \
            --index-url "$TORCH_INDEX" --requirement /requirements/training-report.txt 2>/dev/null; \
    then echo "torchvision: from $TORCH_INDEX"; \
    else pip install --root-user-action=ignore --constraint /requirements/installed.txt \
            --requirement /requirements/training-report.txt && echo "torchvision: from the default index"; \
    fi
COPY --from=package /install /opt/pigeonhole
# A volume mounted at /data takes this mode when it is new: whatever uid trains can download a data set into it.
RUN install -d -m 1777 /data
# Weights that torchvision downloads are kept with the checkpoints; /data may be somebody's pictures, by class.
ENV TORCH_HOME=/models/.torch
USER 1000:1000
# From here, `--data data`, which is the default, is the volume.
WORKDIR /
# As Ctrl-C: the best epoch so far is kept. SIGTERM would lose it.
STOPSIGNAL SIGINT
ENTRYPOINT ["pigeonhole"]
CMD ["train", "--help"]
