import dataclasses

import pytest

from senet.training.recipe import Recipe


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", "se_resnet5", "Did you mean"),
        ("variant", "tf", "Unknown variant 'tf'"),
        ("size", 16, "size must be from 32 to 4096; got 16"),
        ("epochs", 0, "epochs must be from 1"),
        ("batch_size", 0, "batch_size must be from 1"),
        ("learning_rate", -1.0, "learning_rate must be from 0"),
        ("learning_rate", float("nan"), "learning_rate must be from 0"),
        ("warmup", 1.5, "warmup must be from 0 to 1"),
        ("flip", 2.0, "flip must be from 0 to 1"),
        ("seed", -1, "seed must be from 0"),
        ("crop", "random", "crop must be one of resized, shift, centre"),
        ("precision", "float8", "precision must be one of"),
    ],
)
def test_values_outside_their_range_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{field: value})


def test_every_field_says_what_it_is():
    assert all(field.metadata["help"] for field in dataclasses.fields(Recipe))
