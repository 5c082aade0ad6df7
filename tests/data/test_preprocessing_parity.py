"""Inputs against timm's evaluation transform, which the published scores rest on."""

import numpy as np
import pytest

from senet.data.preprocessing import Preprocessing
from tests.conftest import GOLDEN
from tests.weights import generated

REFERENCE = np.load(GOLDEN / "preprocessing.npz")


@pytest.mark.parametrize("key", REFERENCE.files)
def test_an_input_is_that_of_timm_within_one_grey_level(key):
    size, crop_fraction, interpolation, width, height = key.split()
    ours = Preprocessing(int(size), float(crop_fraction), interpolation)
    found = ours(generated.photo(int(width), int(height)))
    per_level = np.repeat([1 / 255 / np.array(ours.std)], found.size // 3, axis=0)
    step = generated.some_pixels(per_level.reshape(found.shape)).astype("float32")
    expected = REFERENCE[key].astype("float32")
    found = generated.some_pixels(found).astype("float32")
    assert (abs(found - expected) <= step).all()
    assert expected.std() > 0.3
