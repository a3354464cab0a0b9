"""What Flower watches: our Redis, our prefix, our priorities. `celery --app=flower_app flower`.

Not the worker's app: that one needs the worker's libraries and starts by looking for a checkpoint.
"""

from pigeonhole.ledger.celery_app import configure
from pigeonhole.settings import Settings

app = configure(Settings.from_environment())
