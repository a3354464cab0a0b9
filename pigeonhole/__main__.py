"""`python -m pigeonhole` is the program `pigeonhole`."""

from producer.program import main

if __name__ == "__main__":
    main()
