import pytest

import senet
from senet.benchmarking import limits
from senet.benchmarking.limits import Work, count_work, measure_limits


class Cost:
    multiply_adds, activations, parameters, trainable_parameters = 1000, 100, 50, 40


def test_a_step_of_training_does_three_times_the_products_of_inference():
    infer, train = (count_work(Cost, 8, 4, training=training) for training in (False, True))
    assert infer == Work(operations=8 * 2 * 1000, bytes=4 * (8 * 2 * 100 + 50))
    assert train == Work(8 * 6 * 1000, 4 * (8 * 6 * 100 + 2 * 50) + 4 * 5 * 40)


def test_half_the_width_moves_half_the_maps_and_the_same_update():
    wide, narrow = (count_work(Cost, 8, width, training=True) for width in (4, 2))
    assert wide.operations == narrow.operations
    assert narrow.bytes - 800 == (wide.bytes - 800) / 2


def test_the_work_of_se_resnet50_is_that_of_its_multiply_adds():
    cost = senet.complexity(senet.create("se_resnet50", variant="torch"))
    assert count_work(cost, 1, 2, training=True).operations == 6 * cost.multiply_adds
    assert cost.multiply_adds == pytest.approx(4.1e9, rel=0.01)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_limits_are_products_and_bytes_in_their_time(precision, monkeypatch):
    """A clock that goes on by itself gives every product and every copy the same seconds."""
    monkeypatch.setattr(limits, "SIDES", (8, 16, 32))
    monkeypatch.setattr(limits, "ENOUGH", 0.4)
    monkeypatch.setattr(limits, "COPIED", 1024)
    now = [0.0]

    def clock():
        now[0] += 0.5
        return now[0]

    monkeypatch.setattr(limits.time, "perf_counter", clock)
    found = measure_limits(precision)
    assert found.operations == 2 * 8**3 / 0.5  # it took more than ENOUGH: no larger one
    assert found.bytes == 2 * 2 * 1024 / 0.5  # two arrays, read and written
    assert found.precision == precision


def test_a_larger_product_follows_a_short_one(monkeypatch):
    monkeypatch.setattr(limits, "SIDES", (8, 16, 32))
    monkeypatch.setattr(limits, "COPIED", 1024)
    sides = []
    product = limits.ops.matmul

    def matmul(a, b):
        sides.append(a.shape[0])
        return product(a, b)

    monkeypatch.setattr(limits.ops, "matmul", matmul)
    measure_limits("float32")
    assert sorted(set(sides)) == [8, 16, 32]
