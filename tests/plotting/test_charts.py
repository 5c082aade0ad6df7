import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from senet.plotting import charts


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figures that are saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **o: figures.append(self) or save(self, *a, **o)
    )
    return figures


def test_curves_show_training_and_validation_of_every_epoch(tmp_path, drawn):
    history = [
        dict(epoch=e, loss=3.0 / e, accuracy=0.1 * e, val_loss=4.0 / e, val_accuracy=0.05 * e)
        for e in (1, 2, 3)
    ]
    charts.curves(history, tmp_path / "curves.png")
    loss, accuracy = drawn[0].axes
    for axes, key, scale in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for label, name in (("training", key), ("validation", f"val_{key}")):
            assert list(lines[label].get_xdata()) == [1, 2, 3]
            expected = [scale * row[name] for row in history]
            np.testing.assert_allclose(lines[label].get_ydata(), expected)


def test_confusion_shows_shares_of_the_true_class_and_counts(tmp_path, drawn):
    charts.confusion(np.array([[3, 1], [0, 5]]), ("a", "b"), tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "3", (1, 0): "1", (1, 1): "5"}


def test_names_with_dollars_are_names_and_not_mathematics(tmp_path):
    names = (r"$\frac$", "50$", "$")
    charts.confusion(np.eye(3, dtype=int), names, tmp_path / "confusion.png")
    images = [np.zeros((4, 4, 3), "uint8")] * 3
    charts.grid(images, names, tmp_path / "grid.png", marked=[True, False, False])
    assert (tmp_path / "grid.png").stat().st_size > 0


ROWS = [
    dict(low=0.2, high=0.4, confidence=0.3, accuracy=0.25, images=4),
    dict(low=0.8, high=1.0, confidence=0.9, accuracy=0.6, images=10),
]


def test_a_reliability_diagram_shows_accuracy_confidence_and_counts_of_each_bin(tmp_path, drawn):
    charts.calibration(ROWS, tmp_path / "calibration.png", "test")
    above, below = drawn[0].axes
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in above.patches]
    np.testing.assert_allclose(bars, [(20, 20, 25), (80, 20, 60)])
    counts = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in below.patches]
    np.testing.assert_allclose(counts, [(20, 20, 4), (80, 20, 10)])
    lines = {line.get_label(): line.get_xydata().tolist() for line in above.get_lines()}
    assert lines["perfectly calibrated"] == [[0, 0], [100, 100]]
    np.testing.assert_allclose(lines["at the mean confidence"], [[30, 25], [90, 60]])


def test_runs_are_compared_by_validation_loss_and_accuracy_in_one_picture(tmp_path, drawn):
    histories = {
        "a": [dict(epoch=e, val_loss=2.0 / e, val_accuracy=0.2 * e) for e in (1, 2, 3)],
        "_$b": [dict(epoch=1, val_loss=5.0), dict(epoch=2, val_accuracy=0.5)],
        "nothing yet": [],
    }
    charts.compared(histories, tmp_path / "compare.png")
    loss, accuracy = drawn[0].axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [2, 1, 2 / 3])
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [20, 40, 60])
    np.testing.assert_allclose(loss.lines[1].get_ydata(), [5, np.nan])
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), [np.nan, 50])
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "_$b", "nothing yet"]
    colours = [[line.get_color() for line in axes.lines] for axes in (loss, accuracy)]
    assert len({tuple(colour) for colour in colours[0]}) == 3
    np.testing.assert_allclose(*colours)


def test_more_runs_than_colours_of_a_palette_still_differ(tmp_path, drawn):
    history = [dict(epoch=1, val_loss=1.0, val_accuracy=0.5)]
    charts.compared({str(i): history for i in range(25)}, tmp_path / "compare.png")
    assert len({tuple(line.get_color()) for line in drawn[0].axes[0].lines}) == 25


def test_captions_and_ticks_of_long_names_stay_apart(tmp_path, drawn):
    names = [f"{i} is a name of a class that is much too long for a picture" for i in range(6)]
    images = [np.zeros((4, 4, 3), "uint8")] * 6
    charts.grid(images, [f"{name}\nbut is {name}" for name in names], tmp_path / "grid.png")
    figure = drawn[0]
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    charts.confusion(np.eye(6, dtype=int), names, tmp_path / "confusion.png")
    ticks = [tick.get_text() for tick in drawn[1].axes[0].get_yticklabels()]
    assert [tick[:4] for tick in ticks] == [f"{i} is" for i in range(6)]
    assert max(map(len, ticks)) == charts.LONGEST
