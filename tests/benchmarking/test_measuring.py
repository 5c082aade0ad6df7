import pytest

from senet.benchmarking import measuring
from senet.benchmarking.limits import Limits
from senet.benchmarking.measuring import measure
from senet.benchmarking.subjects import Subject


@pytest.fixture
def clock(monkeypatch):
    """A clock that a step puts on; limits take no time."""
    now = [0.0]
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(
        measuring, "measure_limits", lambda precision: Limits(precision, 1e12, 1e10)
    )
    return now


def make_subject(clock, seconds, precision="float32"):
    """Whose steps take `seconds` one after the other, and the last of them from then on."""
    left = list(seconds)

    def step():
        clock[0] += left.pop(0) if len(left) > 1 else left[0]

    return Subject("net", "infer", 4, 32, precision, step, None)


def test_the_first_steps_do_not_count(clock):
    found = measure(make_subject(clock, [9.0, 1.0, 1.0, 0.3, 0.5, 0.4, 7.0]), repeats=3)
    assert found.first == 9.0
    assert found.seconds == pytest.approx((0.3, 0.5, 0.4))
    assert found.steps == 1


def test_short_steps_make_one_repeat_together(clock):
    found = measure(make_subject(clock, [9.0, 0.03]), repeats=2)
    assert found.steps == 7  # of 0.03 s, to make 0.2
    assert found.seconds == pytest.approx((0.03, 0.03))
    assert clock[0] == pytest.approx(9 + 2 * 0.03 + 2 * 7 * 0.03)


def test_the_limit_is_measured_in_the_precision_of_the_maps(clock):
    for precision, limiting in (("mixed_bfloat16", "bfloat16"), ("float32", "float32")):
        assert measure(make_subject(clock, [1.0], precision), 1).limits.precision == limiting
    assert measure(make_subject(clock, [1.0], "int8"), 1).limits is None


def test_memory_is_read_before_the_limits_take_theirs(clock, monkeypatch):
    said = []
    monkeypatch.setattr(measuring.machine, "read_peak_memory", lambda: said.append("memory"))
    monkeypatch.setattr(measuring, "measure_limits", lambda precision: said.append("limits"))
    measure(make_subject(clock, [1.0]), 1)
    assert said == ["memory", "limits"]
