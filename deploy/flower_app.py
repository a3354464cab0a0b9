"""What Flower watches: our Redis, our prefix, our priorities. `celery --app=flower_app flower`.

Not the worker's app: that one needs the worker's libraries and starts by looking for a checkpoint.
"""

from worker.contract.queue import configure
from worker.contract.settings import Settings

app = configure(Settings.from_environment())
