"""Starts a worker without Celery's command line.

Celery's command takes options from environment variables that other programs use too: APP, BROKER_URL, CONFIG_MODULE,
LOADER, RESULT_BACKEND, and CELERY_WORKER_ with the name of any option.
"""

from celery.utils.nodenames import default_nodename, host_format

from worker.app import app


def run(name: str, log_level: str) -> int:
    """Run a worker until it is stopped.

    Args:
        name: Celery's name of the worker; `%h` stands for the machine's name.
        log_level: the lowest level that is logged, `INFO` for instance.

    Returns:
        The exit code of the process.
    """
    program = app.Worker(hostname=host_format(default_nodename(name)), loglevel=log_level, quiet=True)
    program.start()
    return int(program.exitcode or 0)
