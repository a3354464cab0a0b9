"""The Celery app for Flower, with our Redis, prefix and priorities: `celery --app=flower_app flower`.

Flower can't use the worker's app, which needs the worker's libraries and loads a checkpoint.
"""

from pigeonhole.ledger.queue.celery_app import configure
from pigeonhole.settings import Settings

app = configure(Settings.from_environment())
