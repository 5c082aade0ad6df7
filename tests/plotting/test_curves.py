import itertools

import numpy as np
import pytest

from senet.plotting.curves import draw_comparison, draw_curves, find_best
from tests.plotting.marks import find_overlaps


def rows(count, **changed):
    return [
        dict(epoch=e, learning_rate=0.1 / e, loss=3.0 / e, accuracy=0.02 * e)
        | dict(val_loss=4.0 / e, val_accuracy=0.03 * min(e, 3))
        | changed
        for e in range(1, count + 1)
    ]


def test_curves_show_training_and_validation_and_the_learning_rate_of_every_epoch(tmp_path, drawn):
    history = rows(5)
    draw_curves(history, tmp_path / "curves.png", title="net on $data")
    loss, accuracy, rate = drawn[0].axes
    for axes, key, scale in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for label, name in (
            ("training, with augmentation", key),
            ("validation", f"val_{key}"),
        ):
            assert list(lines[label].get_xdata()) == [1, 2, 3, 4, 5]
            expected = [scale * row[name] for row in history]
            np.testing.assert_allclose(lines[label].get_ydata(), expected)
    np.testing.assert_allclose(rate.get_lines()[0].get_ydata(), [0.1, 0.05, 0.1 / 3, 0.025, 0.02])
    assert drawn[0].get_suptitle() == "net on $data"


def test_the_best_epoch_is_marked_which_is_the_first_of_the_best(tmp_path, drawn):
    history = rows(5)
    assert find_best(history)["epoch"] == 3
    draw_curves(history, tmp_path / "curves.png")
    for axes in drawn[0].axes[:2]:
        marks = [line for line in axes.get_lines() if "best" in str(line.get_label())]
        assert [list(mark.get_xdata()) for mark in marks] == [[3, 3]]
        assert marks[0].get_label() == "best validation: 9.0 % in epoch 3"


def test_an_epoch_that_was_not_scored_leaves_a_gap_and_is_not_the_best(tmp_path, drawn):
    history = [*rows(2), rows(1, epoch=3, val_accuracy=None, val_loss=None)[0]]
    assert find_best(history)["epoch"] == 2
    assert find_best([history[-1]]) is None
    draw_curves(history, tmp_path / "curves.png")
    np.testing.assert_allclose(drawn[0].axes[0].get_lines()[1].get_ydata(), [4, 2, np.nan])


def test_a_run_that_was_gone_on_with_is_marked_where_it_was_once_in_the_legend(tmp_path, drawn):
    draw_curves(rows(5), tmp_path / "curves.png", resumed=[1.5, 3])
    for axes in drawn[0].axes:
        places = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]
        assert places == [1.5, 3]
    (legend,) = drawn[0].legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names.count("went on from a checkpoint") == 1
    draw_curves(rows(5), tmp_path / "curves.png")
    names = [text.get_text() for text in drawn[1].legends[0].get_texts()]
    assert "went on from a checkpoint" not in names


def test_one_epoch_is_shown_as_points_with_their_numbers_and_a_whole_epoch_below(tmp_path, drawn):
    draw_curves(rows(1), tmp_path / "curves.png")
    loss, accuracy, _ = drawn[0].axes
    assert [text.get_text() for text in loss.texts] == ["3", "4"]
    assert [text.get_text() for text in accuracy.texts] == ["2", "3"]
    for axes in drawn[0].axes:
        assert list(axes.get_xticks()) == [1]
        assert axes.get_lines()[0].get_markersize() >= 6


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_no_legend_lies_over_the_panels(tmp_path, drawn, epochs):
    draw_curves(rows(epochs), tmp_path / "curves.png", resumed=[0.5])
    draw_comparison({f"run {i}": rows(epochs) for i in range(9)}, tmp_path / "compare.png")
    assert [find_overlaps(figure) for figure in drawn] == [[], []]


def test_runs_are_compared_by_validation_loss_and_accuracy_in_one_picture(tmp_path, drawn):
    histories = {
        "a": [dict(epoch=e, val_loss=2.0 / e, val_accuracy=0.2 * e) for e in (1, 2, 3)],
        "_$b": [dict(epoch=1, val_loss=5.0), dict(epoch=2, val_accuracy=0.5)],
        "nothing yet": [],
    }
    draw_comparison(histories, tmp_path / "compare.png", title="3 runs")
    loss, accuracy = drawn[0].axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [2, 1, 2 / 3])
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [20, 40, 60])
    np.testing.assert_allclose(loss.lines[1].get_ydata(), [5, np.nan])
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), [np.nan, 50])
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "_$b", "nothing yet"]
    colours = [[line.get_color() for line in axes.lines] for axes in (loss, accuracy)]
    assert colours[0] == colours[1]


def test_more_runs_than_colours_still_differ_in_dashes_or_marker(tmp_path, drawn):
    history = [dict(epoch=1, val_loss=1.0, val_accuracy=0.5)]
    draw_comparison({str(i): history for i in range(40)}, tmp_path / "compare.png")
    lines = drawn[0].axes[0].lines
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == 40
    for a, b in itertools.pairwise(lines):
        assert a.get_color() != b.get_color()
