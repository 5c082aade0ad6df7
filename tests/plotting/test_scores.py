import numpy as np

from senet.plotting import style
from senet.plotting.scores import draw_arms, draw_calibration, draw_confusion
from tests.plotting.marks import find_overlaps


def test_confusion_shows_shares_of_the_true_class_and_counts(tmp_path, drawn):
    draw_confusion(np.array([[3, 1], [0, 5]]), ("a", "b"), tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "3", (1, 0): "1", (1, 1): "5"}


def test_numbers_on_full_faces_are_white_in_the_dark_too_and_others_are_ink(tmp_path, drawn):
    draw_confusion(np.array([[9, 1], [5, 5]]), ("a", "b"), tmp_path / "confusion.png")
    colours = {text.get_text(): text.get_color() for text in drawn[0].axes[0].texts}
    assert colours == {"9": style.ALWAYS_WHITE, "1": style.INK, "5": style.INK}
    assert style.ALWAYS_WHITE not in style.DARK


def test_hundreds_of_classes_have_some_names_and_no_numbers(tmp_path, drawn):
    names = [f"class {i}" for i in range(200)]
    draw_confusion(np.eye(200, dtype=int), names, style.both(tmp_path / "confusion.png"))
    axes = drawn[0].axes[0]
    assert len(axes.get_xticklabels()) == 20
    assert len(axes.texts) == 0
    assert (tmp_path / "confusion.svg").stat().st_size < 200_000


def test_ticks_of_long_names_keep_their_ends(tmp_path, drawn):
    names = [f"{i} is a name of a class that is much too long for a picture" for i in range(6)]
    draw_confusion(np.eye(6, dtype=int), names, tmp_path / "confusion.png")
    ticks = [tick.get_text() for tick in drawn[0].axes[0].get_yticklabels()]
    assert [tick[:4] for tick in ticks] == [f"{i} is" for i in range(6)]
    assert max(map(len, ticks)) == style.LONGEST


def test_names_with_dollars_are_names_and_not_mathematics(tmp_path):
    names = (r"$\frac$", "50$", "$")
    draw_confusion(np.eye(3, dtype=int), names, style.both(tmp_path / "confusion.png"))
    assert r"$\frac$" in (tmp_path / "confusion.svg").read_text()


ROWS = [
    dict(low=0.2, high=0.4, confidence=0.3, accuracy=0.25, images=4),
    dict(low=0.8, high=1.0, confidence=0.9, accuracy=0.6, images=10),
]


def test_a_reliability_diagram_shows_accuracy_confidence_and_counts_of_each_bin(tmp_path, drawn):
    draw_calibration(ROWS, tmp_path / "calibration.png", "test")
    above, below = drawn[0].axes
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in above.patches]
    np.testing.assert_allclose(bars, [(20, 20, 25), (80, 20, 60)])
    counts = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in below.patches]
    np.testing.assert_allclose(counts, [(20, 20, 4), (80, 20, 10)])
    lines = {line.get_label(): line.get_xydata().tolist() for line in above.get_lines()}
    assert lines["perfectly calibrated"] == [[0, 0], [100, 100]]
    np.testing.assert_allclose(lines["at the mean confidence"], [[30, 25], [90, 60]])
    assert find_overlaps(drawn[0]) == []


def test_arms_have_their_runs_means_and_deviations(tmp_path, drawn):
    draw_arms({"plain": [0.5, 0.7], "$se": [0.6, 0.8]}, tmp_path / "arms.png", "top-1")
    axes = drawn[0].axes[0]
    points = [tuple(map(tuple, part.get_offsets())) for part in axes.collections[:2]]
    np.testing.assert_allclose(points, [[(0, 50), (0, 70)], [(1, 60), (1, 80)]])
    (bars,) = axes.containers
    np.testing.assert_allclose(bars[0].get_ydata(), [60, 70])
    deviation = np.std([50, 70], ddof=1)
    ends = [segment[:, 1].tolist() for segment in bars[2][0].get_segments()]
    np.testing.assert_allclose(
        ends, [[60 - deviation, 60 + deviation], [70 - deviation, 70 + deviation]]
    )
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["plain", "$se"]
    assert find_overlaps(drawn[0]) == []
