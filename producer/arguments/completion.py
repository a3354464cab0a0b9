"""Shell completion; it prints no errors."""

import glob
from pathlib import Path

import typer

from pigeonhole.errors import PigeonholeError
from pigeonhole.jobs.names import LAST
from pigeonhole.models.checkpoint import SUFFIX, shipped
from producer.command import settings_from

#: Timeout of Redis in seconds.
TIMEOUT = 0.5
#: Number of jobs to offer; the newest ones come first.
MOST = 100


def complete_job(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return `last` and the job ids that start with a text, newest first."""
    from pigeonhole.ledger.ledger import Ledger
    from pigeonhole.ledger.redis.client import connect

    try:
        settings = settings_from(broker=ctx.params.get("broker"))
        if not settings.broker_url:
            return []
        with connect(settings.broker_url, retries=0, timeout=TIMEOUT) as client:
            jobs = Ledger(settings, client=client).job_ids()
    except PigeonholeError:
        return []
    return [name for name in (LAST, *reversed(jobs)) if jobs and name.startswith(incomplete)][:MOST]


def complete_job_or_file(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the jobs and the files that start with a text."""
    return [*complete_job(ctx, incomplete), *sorted(glob.glob(f"{glob.escape(incomplete)}*"))]


def complete_model(incomplete: str) -> list[str]:
    """Return the shipped models and the model files that start with a text."""
    files = glob.glob(f"{glob.escape(incomplete)}*{SUFFIX}")
    folders = [f"{folder}/" for folder in glob.glob(f"{glob.escape(incomplete)}*") if Path(folder).is_dir()]
    inside = [file for folder in folders for file in glob.glob(f"{glob.escape(folder)}*{SUFFIX}")]
    return [name for name in (*shipped(), *sorted(files), *sorted(inside)) if name.startswith(incomplete)]
