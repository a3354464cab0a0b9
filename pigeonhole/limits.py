"""The numbers that sources, models and messages agree on."""

#: Probabilities are whole millionths: shorter than floats, and the same on every machine.
PPM = 1_000_000
#: How many of the best classes a row carries, unless a job asks for another number.
TOP = 3
#: The most that a job may ask for.
MOST_TOP = 1_000
#: The most labels that a multi-label model gives an image; the most probable ones.
MOST_LABELS = 1_000
#: Indices of classes are of 16 bits.
MOST_CLASSES = 65_535
#: Bytes of the longest path that is listed: Linux opens none that is longer, and a batch of 2,048 can be read back.
LONGEST_PATH = 4096
#: The value of `Row.unknown` from which on an image counts as unknown, if it is marked for review too.
UNKNOWN_FROM = 0.5
