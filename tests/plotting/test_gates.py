import numpy as np

from senet.plotting import style
from senet.plotting.folding import draw_tradeoff
from senet.plotting.gates import draw_depth_profile, draw_gate_curves
from tests.plotting.marks import find_overlaps

CHANNELS = np.arange(4)


def test_gates_are_lines_of_classes_with_their_mean_in_ink(tmp_path, drawn):
    panel = {
        name: dict(channels=CHANNELS, mean=np.full(4, 0.1 * i))
        for i, name in enumerate(("_cat", "dog", "all 2 classes"), 1)
    }
    draw_gate_curves({"first": panel, "last": panel}, tmp_path / "gates.png", title="gates")
    for axes in drawn[0].axes:
        np.testing.assert_allclose([line.get_ydata()[0] for line in axes.lines], [0.1, 0.2, 0.3])
        colours = [line.get_color() for line in axes.lines]
        assert colours == [*style.SERIES[:2], style.INK]
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["_cat", "dog", "all 2 classes"]
    assert find_overlaps(drawn[0]) == []


def test_a_spread_is_a_band_around_the_mean(tmp_path, drawn):
    line = dict(channels=CHANNELS, mean=np.full(4, 0.5), spread=np.full(4, 0.2))
    draw_gate_curves({"block": {"cat": line}}, tmp_path / "gates.png")
    (band,) = drawn[0].axes[0].collections
    np.testing.assert_allclose(band.get_datalim(drawn[0].axes[0].transData).intervaly, [0.3, 0.7])


def test_the_profile_has_a_bar_for_each_block_and_legends_beside_it(tmp_path, drawn):
    row = dict(channels=8, high=0.5, low=0.25, variation=0.1, specificity=0.4, shuffled=0.02)
    profile = [dict(block=f"block {i}", dead=2, constant=4, **row) for i in range(3)]
    names = [row["block"] for row in profile]
    limits = dict(near=0.05, dead=0.01, constant=0.01)
    draw_depth_profile(profile, names, tmp_path / "profile.png", title="gates", **limits)
    idle = drawn[0].axes[3]
    heights = [[bar.get_height() for bar in axes.patches] for axes in drawn[0].axes]
    np.testing.assert_allclose(heights[0], [50] * 3 + [25] * 3)
    np.testing.assert_allclose(heights[1], [10] * 3)
    np.testing.assert_allclose(heights[2], [40] * 3 + [2] * 3)
    np.testing.assert_allclose(heights[3], [25] * 3 + [50] * 3)
    assert [tick.get_text() for tick in idle.get_xticklabels()] == names
    assert find_overlaps(drawn[0]) == []


def test_the_tradeoff_marks_what_is_chosen_and_what_is_allowed(tmp_path, drawn):
    steps = [
        dict(top1=0.9, loss=0.3, parameters=100, multiply_adds=50, milliseconds=4.0),
        dict(top1=0.88, loss=0.4, parameters=80, multiply_adds=None, milliseconds=3.0),
    ]
    steps[1]["multiply_adds"] = 40
    options = dict(chosen=1, allowed=0.87, title="folded")
    draw_tradeoff(["none", "+ last"], steps, tmp_path / "folded.png", **options)
    right, loss, costs = drawn[0].axes
    np.testing.assert_allclose(right.lines[0].get_ydata(), [90, 88])
    np.testing.assert_allclose(right.lines[1].get_ydata(), [87, 87])
    assert {line.get_label(): line.get_ydata()[1] for line in costs.lines[:3]} == {
        "parameters": 80,
        "multiply-adds": 80,
        "time for one image": 75,
    }
    assert all(axes.lines[-1].get_xdata()[0] == 1 for axes in (right, loss, costs))
    assert find_overlaps(drawn[0]) == []
    (legend,) = drawn[0].legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown[:2] == ["allowed", "folded up to here"]
    assert shown[2:] == ["parameters", "multiply-adds", "time for one image"]
