import numpy as np
import pytest
from matplotlib.figure import Figure

from senet import plotting


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
    plotting.curves(history, tmp_path / "curves.png")
    loss, accuracy = drawn[0].axes
    for axes, key, scale in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for label, name in (("training", key), ("validation", f"val_{key}")):
            assert list(lines[label].get_xdata()) == [1, 2, 3]
            expected = [scale * row[name] for row in history]
            np.testing.assert_allclose(lines[label].get_ydata(), expected)


def test_confusion_shows_shares_of_the_true_class_and_counts(tmp_path, drawn):
    plotting.confusion(np.array([[3, 1], [0, 5]]), ("a", "b"), tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "3", (1, 0): "1", (1, 1): "5"}


def test_names_with_dollars_are_names_and_not_mathematics(tmp_path):
    names = (r"$\frac$", "50$", "$")
    plotting.confusion(np.eye(3, dtype=int), names, tmp_path / "confusion.png")
    images = [np.zeros((4, 4, 3), "uint8")] * 3
    plotting.grid(images, names, tmp_path / "grid.png", marked=[True, False, False])
    assert (tmp_path / "grid.png").stat().st_size > 0
