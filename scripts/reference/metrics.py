"""docs/reference/metrics.md: the metrics of a worker, from worker/monitoring/metric_list.py."""

from scripts.reference.markdown import table
from worker.monitoring.metric_list import METRICS, MetricSpec

HEAD = """# Metrics

```sh
PIGEONHOLE_METRICS_PORT=9100 pigeonhole worker &
curl -s http://127.0.0.1:9100/metrics
```

A worker exports these metrics in the format of Prometheus. [Operations](../guide/operations.md#metrics) shows queries
and alerts. `make docs` writes this page.
"""
FOOT = """\
The gauges after `pigeonhole_redis_up` come from Redis, so all workers export the same values: take `max` of them, not
`sum`. The values of `outcome` are `label`, `review` (a label to review) and `error`; `kind` is an
[error kind](errors.md#error-rows); `stage` is `read`, `forward` or `commit`.
"""


def written() -> str:
    """Return the page."""
    rows = [(f"`{_exported(name, metric)}`", metric.kind, metric.description) for name, metric in METRICS.items()]
    return "\n".join([HEAD, table(("metric", "kind", "meaning"), rows), FOOT])


def _exported(name: str, metric: MetricSpec) -> str:
    labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
    return f"{name}{'_total' if metric.kind == 'counter' else ''}{labels}"
