import time

from senet import timing


def test_functions_are_called_in_turn_and_the_first_rounds_do_not_count():
    called = []
    seconds = timing.in_turn([lambda: called.append("a"), lambda: called.append("b")])
    assert "".join(called) == "ab" * (3 + timing.MOST)
    assert [len(taken) for taken in seconds] == [timing.MOST] * 2


def test_slow_functions_are_called_five_times_and_no_more():
    seconds = timing.in_turn([lambda: time.sleep(0.01)], budget=0.02)
    assert len(seconds[0]) == timing.LEAST
    assert min(seconds[0]) >= 0.01


def test_the_ratio_is_that_of_the_same_rounds():
    assert timing.ratio([1, 4, 20], [2, 2, 2]) == 2
