import keras
import pytest
from keras import layers

from senet.models.layout import Layout


def first(name="conv"):
    return layers.Conv2D(8, 3, data_format="channels_first", name=name)


def silent(name="inner"):
    x = keras.Input((8, 6, 6))
    return keras.Model(x, layers.ReLU(name=f"{name}_relu")(x), name=name)


def turning(name="inner"):
    x = keras.Input((3, 8, 8))
    return keras.Model(x, layers.Conv2D(8, 3)(layers.Permute((2, 3, 1))(x)), name=name)


def test_what_says_nothing_follows_what_is_before_it_then_what_is_behind():
    x = keras.Input((3, 8, 8))
    y = layers.ReLU(name="late")(silent()(first()(layers.ReLU(name="early")(x))))
    layout = Layout(keras.Model(x, y))
    assert [layout.find_channel_axis(n) for n in ("early", "conv", "inner", "late")] == [1] * 4


def test_a_model_inside_a_model_says_what_it_reads_and_what_it_gives():
    x = keras.Input((3, 8, 8))
    y = layers.ReLU(name="late")(turning()(layers.ReLU(name="early")(x)))
    layout = Layout(keras.Model(x, y))
    assert layout.find_channel_axis("inner") == layout.find_channel_axis("late") == -1
    z = layers.GlobalAveragePooling2D(data_format="channels_first")(layers.ReLU(name="first")(x))
    assert Layout(keras.Model(x, [y, z])).find_channel_axis("first") == 1


@pytest.mark.parametrize(("around", "axis"), [(None, -1), (1, 1), (-1, -1)])
def test_where_nothing_says_an_axis_that_around_the_model_counts(around, axis):
    assert Layout(silent(), around).find_channel_axis("inner_relu") == axis


def test_what_moves_axes_ends_the_search():
    x = keras.Input((8, 8, 3))
    y = layers.ReLU(name="before")(layers.ReLU()(x))
    y = first()(layers.Permute((3, 1, 2), name="turn")(y))
    layout = Layout(keras.Model(x, y))
    assert layout.find_channel_axis("before") == -1
    assert layout.find_channel_axis("turn") == 1


def test_a_norm_says_the_axis_that_it_keeps():
    x = keras.Input((3, 8, 8))
    y = layers.ReLU(name="relu")(layers.BatchNormalization(axis=1)(x))
    assert Layout(keras.Model(x, y)).find_channel_axis("relu") == 1
    z = keras.Input((8, 8, 4))
    y = layers.ReLU(name="relu")(layers.GroupNormalization(2, axis=-1)(z))
    assert Layout(keras.Model(z, y)).find_channel_axis("relu") == -1
