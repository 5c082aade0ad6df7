import numpy as np
from PIL import Image

from senet.plotting import style
from senet.plotting.heat import draw_deletion, lay_heat


def test_heat_colours_what_is_hot_and_leaves_the_rest_grey():
    image = Image.new("RGB", (8, 4), (200, 100, 0))
    heat = np.zeros((4, 8), "float32")
    heat[1, 2] = 5
    laid = np.asarray(lay_heat(image, heat)).astype(int)
    assert laid.shape == (4, 8, 3)
    hot, cold = laid[1, 2], laid[0, 0]
    assert hot[0] > 150  # yellow: red and green
    assert hot[1] > 150
    assert hot[0] > cold[0]
    spread = np.ptp(np.asarray(image)[0, 0].astype(int))
    assert np.ptp(cold) < spread / 2
    np.testing.assert_array_equal(laid[2, 7], cold)


def test_a_map_without_heat_is_drawn_without():
    laid = np.asarray(lay_heat(np.full((3, 3, 3), 90, "uint8"), np.zeros((3, 3), "float32")))
    assert np.ptp(laid) == 0


def test_one_image_has_no_bands(tmp_path, drawn):
    draw_deletion((0, 0.5), np.array([[0.9, 0.2]]), np.array([[0.9, 0.6]]), tmp_path / "a.png")
    assert [part.get_alpha() for part in drawn[0].axes[0].collections] == [0.12]  # between them


def test_deletion_shows_the_means_of_both_and_the_area_between(tmp_path, drawn):
    hottest = np.array([[0.9, 0.2], [0.7, 0.4]])
    random = np.array([[0.9, 0.6], [0.7, 0.6]])
    draw_deletion((0, 0.5), hottest, random, style.both(tmp_path / "deletion.png"), title="score")
    (axes,) = drawn[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    np.testing.assert_allclose(lines["the hottest first"], [[0, 0.8], [50, 0.3]])
    np.testing.assert_allclose(lines["those of a random map first"], [[0, 0.8], [50, 0.6]])
    bands = [part for part in axes.collections if part.get_alpha() == 0.18]
    low, high = bands[0].get_datalim(axes.transData).intervaly
    error = 1.96 * np.std([0.9, 0.7], ddof=1) / 2**0.5
    assert np.isclose(high, 0.8 + error)
    assert low < 0.3
    assert (tmp_path / "deletion.svg").is_file()
