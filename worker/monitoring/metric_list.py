"""The metrics that a worker exports: name, kind, labels and description. docs/reference/metrics.md lists them."""

from typing import NamedTuple


class MetricSpec(NamedTuple):
    """One metric.

    Args:
        kind: `counter`, which only rises and whose exported name ends in `_total`; or `gauge`.
        description: one line, exported as its HELP.
        labels: names of its labels.
    """

    kind: str
    description: str
    labels: tuple[str, ...] = ()


#: Name → metric. The gauges after `pigeonhole_redis_up` come from Redis, so every worker exports the same values.
METRICS = {
    "pigeonhole_images": MetricSpec("counter", "Rows committed, by outcome.", ("model", "outcome")),
    "pigeonhole_errors": MetricSpec("counter", "Error rows committed, by kind.", ("model", "kind")),
    "pigeonhole_batches": MetricSpec("counter", "Batches, or parts of one, committed.", ("model",)),
    "pigeonhole_stage_seconds": MetricSpec(
        "counter",
        "Seconds of all processes, by stage: read (read, decode, preprocess), forward, commit.",
        ("model", "stage"),
    ),
    "pigeonhole_worker_info": MetricSpec(
        "gauge",
        "Always 1; the labels say what this worker serves.",
        ("model", "digest", "version", "runtime", "device"),
    ),
    "pigeonhole_batches_in_flight": MetricSpec("gauge", "Batches that this worker is classifying."),
    "pigeonhole_redis_up": MetricSpec("gauge", "1 if Redis answers this worker; if 0, the metrics below are missing."),
    "pigeonhole_workers": MetricSpec("gauge", "Workers that announce themselves.", ("model",)),
    "pigeonhole_queue_messages": MetricSpec("gauge", "Messages that wait in the queue.", ("model",)),
    "pigeonhole_batches_pending": MetricSpec("gauge", "Pending batches, or parts of one.", ("model",)),
    "pigeonhole_jobs_unfinished": MetricSpec("gauge", "Jobs that are neither finished nor cancelled.", ("model",)),
    "pigeonhole_oldest_job_seconds": MetricSpec(
        "gauge", "Age of the oldest unfinished job; 0 if there is none.", ("model",)
    ),
    "pigeonhole_dead_letters": MetricSpec("gauge", "Messages and batches that no worker could understand."),
    "pigeonhole_redis_memory_bytes": MetricSpec("gauge", "Memory that Redis uses."),
    "pigeonhole_redis_memory_max_bytes": MetricSpec("gauge", "Memory that Redis may use; 0: no limit."),
    "pigeonhole_redis_evicts": MetricSpec("gauge", "1 if a full Redis deletes pending batches."),
}
