"""Hostile images are refused within the limits of time and memory."""

import pytest

from pigeonhole.errors import ImageError
from pigeonhole.imaging import decode as decoding
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from tests.hostile import HOSTILE

DIGIT = Preprocessing("digit", 28, 28, 1)
COLOUR = Preprocessing("stretch", 224, 224, 3)
LIMIT = 80_000_000
#: Bytes of files that repeat something. benchmarks/studies/worst_images.py measures them at full size.
SIZE = 4_000_000


# Without the limits, these files would take minutes, gigabytes or both; with them, seconds on a busy machine.
@pytest.mark.timeout(30)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_exceeds_the_limits_is_refused_at_once(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MAX_READS", 200_000)
    monkeypatch.setattr(decoding, "_MAX_SCANS", 40)
    data = HOSTILE[what].make(SIZE)
    if not HOSTILE[what].kind:
        assert prepare(data, COLOUR, LIMIT).shape == (224, 224, 3)
        return
    for preprocessing in (DIGIT, COLOUR):
        with pytest.raises(ImageError) as caught:
            prepare(data, preprocessing, LIMIT)
        assert caught.value.kind == HOSTILE[what].kind, str(caught.value)
        assert len(str(caught.value)) < 300
