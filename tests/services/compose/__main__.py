"""`make compose-test`: build the images, scale to three workers, and compare with the embedded run.

If no Docker engine runs, the one of ../shared/compose-lab is started. Containers, volumes and the folder belong to this
run alone, and are removed afterwards, even after a failure.
"""

import argparse
import sys
import time

from tests.services.compose import checks, models
from tests.services.compose.installation import Site, folders
from tests.services.compose.stack import Failed, Stack, engine, say


def main() -> int:
    """Run all checks and return the exit code."""
    parser = argparse.ArgumentParser("python -m tests.services.compose", description="Test docker-compose.yml.")
    parser.add_argument("--no-training", action="store_true", help="Leave out the training image, the largest one.")
    training = not parser.parse_args().no_training
    started = time.monotonic()
    try:
        with engine() as environment, folders() as work:
            environment |= {"IMAGES": f"{work}/images", "RESULTS": f"{work}/results", "MODELS": f"{work}/models"}
            run(Site(Stack(environment), work), training)
    except Failed as exc:
        say(f"FAILED: {exc}")
        return 1
    say(f"passed in {time.monotonic() - started:.0f} s")
    return 0


def run(site: Site, training: bool) -> None:
    """Run all checks in order, and remove the containers, networks and volumes."""
    site.build("redis", "producer", "worker", "prometheus")
    checks.classify_embedded(site)
    try:
        site.up(checks.WORKERS)
        checks.hardening(site)
        checks.classification(site)
        checks.monitoring(site)
        checks.gentle_stop(site)
        checks.redis_restart(site)
        models.serve_with_torch(site)
        if training:
            models.train_and_serve(site)
            models.import_and_serve(site)
    except Failed:
        for worker in site.stack.containers("worker"):
            say(f"the log of worker {worker[:12]} ends:\n" + "\n".join(site.stack.log(worker).splitlines()[-20:]))
        raise
    finally:
        site.stack("--profile", "monitoring", "down", "--volumes", "--remove-orphans", "--timeout", "30")
        say("down: containers, networks and volumes are removed")


if __name__ == "__main__":
    sys.exit(main())
