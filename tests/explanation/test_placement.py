import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.explanation.gradcam import Halves
from senet.explanation.placement import Line, enlarge, find_place


def place_of(*stack, side=32):
    """Where the cells lie along the image, by our rules."""
    size = (side, side, 1)
    down, across = place = find_place(keras.Sequential([keras.Input(size), *stack]), size)
    assert down == across
    unknown = keras.Sequential([keras.Input((None, None, 1)), *stack])
    assert find_place(unknown, size) == place
    return across.scale, across.offset


def measured(*stack, side=32):
    """The same from what the network computes: the mean pixel that each inner cell sees.

    The layers are linear, and so a cell sees a pixel as much as it changes when that alone is 1.
    """
    model = keras.Sequential([keras.Input((side, side, 1)), *stack])
    model.set_weights([np.full(w.shape, float(w.ndim > 1)) for w in model.get_weights()])
    pixels = np.zeros((side, side, side, 1))
    middle = side // 2
    pixels[np.arange(side), middle, np.arange(side), 0] = 1
    seen = model.predict(pixels, verbose=0).sum(axis=(1, 3))  # pixel, cell
    cells = np.arange(seen.shape[1])
    where = (np.arange(side)[:, None] * seen).sum(axis=0) / seen.sum(axis=0)
    inner = cells[len(cells) // 4 : -(len(cells) // 4)]  # the others see the edge
    scale, offset = np.polyfit(inner, where[inner], 1)
    return pytest.approx((scale, offset), abs=1e-3)


def conv(size, stride=1, padding="same", **options):
    return layers.Conv2D(1, size, stride, padding, use_bias=False, **options)


STACKS = {
    "same 3x3/2": [conv(3, 2)],
    "same 3x3/2 of an odd image": [conv(3, 2), "31"],
    "same 7x7/2 and 3x3/2": [conv(7, 2), conv(3, 2)],
    "valid 3x3/2": [conv(3, 2, "valid")],
    "padded as PyTorch pads": [layers.ZeroPadding2D(3), conv(7, 2, "valid")],
    "padded at one side": [layers.ZeroPadding2D(((0, 1), (0, 1))), conv(3, 2, "valid")],
    "1x1/2": [conv(1, 2), conv(1, 2)],
    "dilated": [conv(3, dilation_rate=2), conv(3, 1, "valid", dilation_rate=2)],
    "depthwise": [layers.DepthwiseConv2D(3, 2, "same", use_bias=False)],
    "mean": [layers.AveragePooling2D(3, 2, "valid"), layers.AveragePooling2D(2)],
    "cropped": [layers.Cropping2D(((3, 1), (3, 1))), conv(3)],
    "cropped in the middle": [layers.CenterCrop(21, 21), conv(3)],
    "a model inside of any size": [
        conv(3, 2, "valid"),  # gives 15 cells, of which "same" pads both ends
        keras.Sequential([keras.Input((None, None, 1)), conv(3, 2), conv(3, 1)]),
    ],
    "a model inside": [keras.Sequential([keras.Input((32, 32, 1)), conv(3, 2)]), conv(3, 2)],
}


@pytest.mark.parametrize("name", STACKS)
def test_the_middle_of_what_a_cell_sees_is_that_of_the_pixels_that_change_it(name):
    stack = STACKS[name]
    side = 31 if stack[-1] == "31" else 32
    stack = [layer for layer in stack if layer != "31"]
    assert place_of(*stack, side=side) == measured(*stack, side=side)


def test_where_ways_of_different_middles_meet_it_is_their_mean_and_gates_lie_nowhere():
    x = keras.Input((32, 32, 4))
    sum_of_both = layers.Add()([conv(1, 2)(x), conv(3, 2)(x)])  # on 2 i and on 2 i + 1
    assert find_place(keras.Model(x, sum_of_both), (32, 32, 4)) == (Line(2, 0.5),) * 2
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(sum_of_both)
    scaled = keras.Model(x, layers.Multiply()([sum_of_both, pooled]))
    assert find_place(scaled, (32, 32, 4)) == (Line(2, 0.5),) * 2


def test_a_map_that_is_enlarged_lies_evenly_on_what_it_was():
    assert place_of(conv(3, 2), layers.UpSampling2D(2)) == (
        1,
        0.5,
    )  # on 1, 1, 3, 3, ...


def test_a_map_that_is_resized_lies_evenly_whatever_the_size_of_the_image():
    x = keras.Input((None, None, 1))
    model = keras.Model(x, conv(3, 2, "valid")(layers.Resizing(32, 32)(x)))
    assert find_place(model, (128, 64, 1)) == (Line(8, 4 + 1.5), Line(4, 2 + 0.5))


CHANGES = [
    lambda x: x[:, ::2, ::2],
    lambda x: keras.ops.pad(x, [(0, 0), (3, 3), (3, 3), (0, 0)]),
]


@pytest.mark.parametrize("change", CHANGES)
def test_behind_what_is_not_known_nothing_is(change):
    x = keras.Input((32, 32, 1))
    assert find_place(keras.Model(x, conv(3)(change(x))), (32, 32, 1)) is None


def test_both_sides_are_found_each_for_itself():
    x = keras.Input((32, 24, 1))
    maps = layers.ZeroPadding2D(((2, 0), (0, 0)))(conv(3, (2, 1), "valid")(x))
    assert find_place(keras.Model(x, maps), (32, 24, 1)) == (Line(2, 1 - 4), Line(1, 1))


def test_a_gate_of_one_side_lies_nowhere():
    """As in coordinate attention, which has a gate for each row."""
    x = keras.Input((32, 32, 4))
    maps = conv(3, 2)(x)
    rows = keras.ops.mean(maps, axis=2, keepdims=True)
    scaled = keras.Model(x, layers.Multiply()([maps, layers.Activation("sigmoid")(rows)]))
    assert find_place(scaled, (32, 32, 4)) == (Line(2, 1),) * 2
    flipped = keras.Model(x, keras.ops.flip(maps, axis=2))
    assert find_place(flipped, (32, 32, 4)) is None


@pytest.mark.parametrize("move", [layers.Permute((2, 1, 3)), layers.Reshape((16, 16, 4))])
def test_where_maps_are_moved_nothing_is_known_and_the_image_is_divided_evenly(move):
    x = keras.Input((32, 32, 1))
    assert find_place(keras.Model(x, conv(3)(move(conv(3)(x)))), (32, 32, 1)) is None
    enlarged = enlarge(np.array([[[0.0, 1.0], [0.0, 1.0]]]), None, (8, 8))
    steps = np.array([4, 4, 3.5, 2.5, 1.5, 0.5, 0.5, 1.5])  # pixels from the middle of the second
    np.testing.assert_allclose(enlarged[0, 3], (1 + np.cos(np.pi * steps / 4)) / 2, atol=1e-12)


def test_cells_fade_to_the_middles_of_their_neighbours_and_beyond_the_outermost_ones():
    maps = np.array([[[0.0, 4.0, 2.0]]], "float32")
    large = enlarge(maps, (Line(5, 1), Line(4, 1)), (3, 12))
    assert large.shape == (1, 3, 12)
    assert large.dtype == np.float32
    quarter, half, most = (1 + np.cos(np.pi * np.array([0.75, 0.5, 0.25]))) / 2
    row = [0, 0, 4 * quarter, 4 * half, 4 * most, 4]
    row = np.array([*row, 2 + 2 * most, 3, 2 + 2 * quarter, 2, 2 * most, 2 * half])
    beside = (1 + np.cos(np.pi / 5)) / 2
    np.testing.assert_allclose(large[0], [beside * row, row, beside * row], rtol=1e-5)


@pytest.mark.parametrize("variant", ["seed", "torch", "caffe"])
def test_networks_of_the_family_lie_where_their_gradients_do(variant):
    """Against the middle of the gradient of a cell in the middle, over images and channels."""
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the gradient is taken by TensorFlow")
    small = dict(n_blocks=(1, 1, 1), n_filters=(8, 8, 8))
    model = senet.create("se_resnet50", input_shape=(128, 128, 3), variant=variant, **small)
    halves = Halves.of(model, None, np.zeros((1, 128, 128, 3)))
    scale, offset = halves.place[1].scale, halves.place[1].offset
    assert scale == 16
    images = tf.constant(np.random.default_rng(0).normal(size=(64, 128, 128, 3)), "float32")
    with tf.GradientTape() as tape:
        tape.watch(images)
        cells = tf.reduce_sum(halves.front(images, training=False)[:, 3, 3])
    seen = np.square(tape.gradient(cells, images)).sum(axis=(0, 1, 3))
    middle = (np.arange(128) * seen).sum() / seen.sum()
    assert middle == pytest.approx(3 * scale + offset, abs=2.5)
    assert abs(middle - (3 * scale + 7.5)) > 4  # the middle of its part of the image
