"""`python -m pigeonhole` is the program `pigeonhole`."""

import sys

if __name__ == "__main__":  # and not where a spawned process imports this again
    if not sys.flags.safe_path:
        del sys.path[0]  # `-m` puts the working folder first, which may hold a producer.py or worker/ of the user's
    from producer.program import main

    main()
