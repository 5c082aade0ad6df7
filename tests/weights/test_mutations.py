"""A fast selection of `tests.weights.mutations`; `make mutations` runs them all."""

import pytest

from tests.weights import mutations


@pytest.mark.parametrize(("kind", "count"), [("safetensors", 150), ("torch", 100), ("keras", 40)])
def test_changed_files_are_loaded_or_refused_and_nothing_else(kind, count):
    found = mutations.run(kind, count)
    assert found["faults"] == []
    assert found["loaded"] + found["refused"] == count
    assert min(found["loaded"], found["refused"]) > 0
