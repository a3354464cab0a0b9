"""Limits and defaults that sources, models and messages share."""

#: Probabilities are stored in whole millionths, which are shorter than floats and the same on every machine.
PPM = 1_000_000
#: The number of most probable classes in a row, unless a job asks for another number.
TOP = 3
#: The largest number of classes in a row that a job may ask for.
MOST_TOP = 1_000
#: The most labels of one image, for a multi-label model; the most probable ones are kept.
MOST_LABELS = 1_000
#: The most classes of a model, because messages store the index of a class in 16 bits.
MOST_CLASSES = 65_535
#: The longest path of an image, in bytes. It is Linux's limit, and a batch of 2,048 such paths can still be read back.
LONGEST_PATH = 4096
#: An image counts as unknown if its `Row.unknown` is at least this, and it is marked for review.
UNKNOWN_FROM = 0.5
