"""The formats, for tests."""

from pigeonhole.sinks.csv_rows import SafeCsv
from pigeonhole.sinks.registry import FORMATS

CSV, JSONL, PARQUET, DB = FORMATS["csv"].lines, FORMATS["jsonl"].lines, FORMATS["parquet"], FORMATS["db"]
SAFE = SafeCsv()
