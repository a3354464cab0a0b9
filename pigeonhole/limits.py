"""The numbers that models and messages agree on."""

#: Probabilities are whole millionths: shorter than floats, and the same on every machine.
PPM = 1_000_000
#: How many of the best classes a row carries, unless a job asks for another number.
TOP = 3
#: Indices of classes are of 16 bits.
MOST_CLASSES = 65_535
