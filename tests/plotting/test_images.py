import itertools

import numpy as np

from senet.plotting import style
from senet.plotting.images import Tile, draw_grid
from tests.plotting.marks import lay_out

BLACK = np.zeros((4, 4, 3), "uint8")


def test_captions_of_long_names_stay_apart(tmp_path, drawn):
    names = [f"{i} is a name of a class that is much too long for a picture" for i in range(6)]
    tiles = [Tile(BLACK, f"{name}\nbut is {name}") for name in names]
    draw_grid({"": tiles}, tmp_path / "grid.png")
    lay_out(drawn[0])
    boxes = [axes.title.get_window_extent() for axes in drawn[0].axes]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_sections_have_their_headings_and_wrong_ones_are_red(tmp_path, drawn):
    right, wrong = [Tile(BLACK, "$")] * 7, [Tile(BLACK, "cat\nbut is dog", wrong=True)] * 2
    draw_grid({"Wrong": wrong, "Right": right, "Empty": []}, tmp_path / "grid.png")
    first, second = drawn[0].subfigs
    assert (first.get_suptitle(), second.get_suptitle()) == ("Wrong", "Right")
    filled = [[axes for axes in part.axes if axes.images] for part in (first, second)]
    assert [len(axes) for axes in filled] == [2, 7]
    assert {axes.title.get_color() for axes in filled[0]} == {style.RED}
    assert {axes.title.get_color() for axes in filled[1]} == {style.INK}
    height = [part.bbox.height for part in (first, second)]
    assert height[1] > 1.5 * height[0]  # two rows


def test_a_grid_without_images_is_a_picture_all_the_same(tmp_path):
    draw_grid({"Wrong": []}, tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 0
