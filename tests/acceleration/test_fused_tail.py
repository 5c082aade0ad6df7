import re

import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.acceleration import fused_tail, rebuild_faster
from senet.acceleration.batch_normalization import FusedBatchNormalization
from senet.acceleration.fused_tail import FusedTail
from senet.models.blocks import squeeze_excite_block
from tests.acceleration.test_twin import assert_close, gradients, numpy, tensorflow_only
from tests.conftest import randomise

SHAPE = 6, 7, 8
pytestmark = tensorflow_only


def tails(model):
    return [layer for layer in rebuild_faster(model).layers if isinstance(layer, FusedTail)]


@pytest.fixture
def mixed():
    """Layers compute in bfloat16."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def network(shortcut=True, first=False, drop=0.0, shape=SHAPE, after=None, **options):
    """A convolution and the tail behind it, as stock layers, and the twin."""
    inputs = keras.Input(shape)
    start = layers.Activation("linear")(inputs)
    y = layers.Conv2D(shape[-1], 1, name="conv")(start)
    x = norm = layers.BatchNormalization(name="bn", **options)(y)
    x = squeeze_excite_block(x, 4, name="se")
    if drop:
        x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), seed=3)(x)
    if shortcut:
        x = layers.Add()([x, start] if first else [start, x])
    x = layers.ReLU(name="relu")(x)
    model = keras.Model(inputs, after(x, norm) if after else x)
    randomise(model)
    return model, senet.accelerate(model)


def images(count=5, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def statistics(model):
    return [numpy(v) for v in model.non_trainable_variables if "moving" in v.path]


KINDS = [
    dict(shortcut=False),
    dict(),
    dict(first=True),
    dict(scale=False, center=False, epsilon=1e-5),
    dict(shape=(1, 1, 8)),
    dict(shape=(16, 24, 8)),
    dict(shape=(11, 13, 8)),  # of which few pixels make no whole, but a row does
]


@pytest.mark.parametrize("count", [5, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_gradients_and_statistics_equal_those_of_the_stock_layers(kind, count):
    model, twin = network(**kind)
    other, _ = network(**kind)
    other.set_weights(model.get_weights())
    assert len(tails(twin)) == 1
    shape = kind.get("shape", SHAPE)
    x, weight = images(count, shape), images(count, shape, seed=1)
    expected, result = numpy(other(x, training=True)), numpy(twin(x, training=True))
    assert_close(result, expected, 1e-5)
    for ours, theirs in zip(statistics(model), statistics(other), strict=True):
        assert_close(ours, theirs, 1e-5)
    theirs, ours = gradients(other, x, weight), gradients(twin, x, weight)
    assert_close(ours[1], theirs[1], 1e-4)
    largest = max(abs(gradient).max() for gradient in theirs[0])
    for one, another in zip(ours[0], theirs[0], strict=True):
        assert abs(one - another).max() <= 1e-5 * largest  # that of the bias before is nothing


def test_precision_does_not_depend_on_the_mean():
    model, twin = network(shortcut=False)
    model.get_layer("conv").bias.assign(np.full(8, 1000.0))
    x = images().astype("float64")
    result = numpy(twin(x, training=True))
    model.get_layer("conv").bias.assign(np.zeros(8))
    assert_close(result, numpy(twin(x, training=True)), 1e-3)  # 1000 + y is rounded to 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_inference_and_frozen_layers_use_the_running_statistics(kind):
    model, twin = network(**kind)
    x = images(shape=kind.get("shape", SHAPE))
    before, expected = statistics(model), numpy(model(x, training=False))
    assert_close(numpy(twin(x, training=False)), expected, 1e-6)
    model.get_layer("bn").trainable = False
    assert_close(numpy(twin(x, training=True)), expected, 1e-6)
    for old, new in zip(before, statistics(model), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(("policy", "within"), [("float32", 1e-5), ("mixed_bfloat16", 3e-2)])
def test_stochastic_depth_drops_the_same_images(policy, within, mixed):
    keras.config.set_dtype_policy(policy)
    kind = dict(drop=0.5)
    (model, twin), (other, _) = network(**kind), network(**kind)
    other.set_weights(model.get_weights())
    assert len(tails(twin)) == 1
    x, weight = images(16), images(16, seed=1)
    for _ in range(3):
        assert_close(numpy(twin(x, training=True)), numpy(other(x, training=True)), within)
    of_inputs, expected = (gradients(one, x, weight)[1] for one in (twin, other))
    assert_close(of_inputs, expected, 10 * within)
    assert_close(numpy(twin(x, training=False)), numpy(other(x, training=False)), within)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_as_near_to_float32_as_that_of_the_stock_layers(kind, mixed):
    model, twin = network(**kind)
    other, _ = network(**kind)
    keras.config.set_dtype_policy("float32")
    exact, _ = network(**kind)
    for one in (other, exact):
        one.set_weights(model.get_weights())
    assert len(tails(twin)) == 1
    assert rebuild_faster(model).output.dtype == "bfloat16"
    shape = kind.get("shape", SHAPE)
    x, weight = images(shape=shape), images(shape=shape, seed=1)
    found = []
    for one in (twin, other, exact):
        of_variables, of_inputs = gradients(one, x, weight)
        arrays = [of_inputs, *of_variables, numpy(one(x, training=True))]
        found.append(np.concatenate([array.ravel() for array in arrays]))
    ours, theirs, expected = found
    assert np.square(ours - expected).mean() <= 1.2 * np.square(theirs - expected).mean()
    for ours, theirs in zip(statistics(model), statistics(exact), strict=True):
        assert_close(ours, theirs, 1e-2)


@pytest.mark.parametrize(
    ("after", "fused"),
    [
        (lambda x, norm: [x, norm], 0),
        (lambda x, norm: layers.Add()([x, layers.Activation("tanh")(norm)]), 0),
        (lambda x, norm: layers.Add()([x, x]), 1),
    ],
    ids=["an output", "another reader", "readers behind"],
)
@pytest.mark.parametrize("training", [False, True])
def test_what_others_read_stays(after, fused, training):
    model, twin = network(after=after)
    assert len(tails(twin)) == fused
    x = images()
    results = twin(x, training=training), model(x, training=training)
    for ours, theirs in zip(*map(keras.tree.flatten, results), strict=True):
        assert_close(numpy(ours), numpy(theirs), 1e-5)


def test_tails_are_found_whatever_the_excitation_and_the_shortcut_are():
    x = keras.Input(SHAPE)
    norm, pool = layers.BatchNormalization, layers.GlobalAveragePooling2D
    gate = layers.Conv2D(8, 1, activation="sigmoid")
    inner = keras.Model(x, layers.ReLU()(gated(norm()(x), excite=gate)), name="inner")
    y = layers.ReLU()(layers.Add()([gated(norm()(x)), gated(norm()(x))]))  # one of the two
    y = layers.ReLU()(layers.Add()([gated(norm()(y), pool(keepdims=True), layers.Softmax()), y]))
    model = keras.Model(x, inner(y))
    randomise(model)
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    twin = senet.accelerate(model)
    assert len(tails(twin)) == 1
    assert len(tails(inner)) == 1
    result, expected = (gradients(one, images(), images(seed=1)) for one in (twin, other))
    assert_close(result[1], expected[1], 1e-4)
    assert_close(numpy(twin(images(), training=True)), numpy(other(images(), training=True)), 1e-5)


def gated(y, pool=None, excite=None):
    """Squeeze and excitation of other layers."""
    pooled = (pool or layers.GlobalAveragePooling2D(keepdims=True))(y)
    return layers.Multiply()([y, (excite or layers.Dense(8, "sigmoid"))(pooled)])


def other_endings(x):
    """Ends of blocks that have something which a fused tail does not compute."""
    norm, add, relu = layers.BatchNormalization, layers.Add(), layers.ReLU()
    yield relu(norm()(x))
    yield relu(add([norm()(x), x]))
    yield relu(add([norm()(x), layers.GlobalAveragePooling2D(keepdims=True)(x)]))
    yield layers.ReLU(6.0)(add([gated(norm()(x)), x]))
    yield layers.LeakyReLU()(add([gated(norm()(x)), x]))
    yield relu(layers.Add()([gated(norm()(x)), x, x]))
    yield relu(add([layers.Dropout(0.5)(gated(norm()(x))), x]))
    yield relu(add([gated(norm()(x), pool=layers.GlobalMaxPooling2D(keepdims=True)), x]))
    yield relu(add([gated(norm()(x), excite=layers.Softmax()), x]))
    yield relu(gated(layers.LayerNormalization()(x)))
    yield relu(add([gated(norm(dtype="mixed_bfloat16")(x)), x]))
    yield relu(layers.Add(dtype="mixed_bfloat16")([gated(norm()(x)), x]))
    yield relu(add([gated(norm()(x, training=True)), x]))
    y = norm()(x)
    gate = layers.Dense(8, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    yield relu(add([layers.Multiply()([y, gate, layers.Conv2D(1, 1, activation="sigmoid")(x)]), x]))
    y = norm()(x)
    yield relu(layers.Multiply()([y, layers.Conv2D(8, 1, activation="sigmoid")(y)]))
    y = gated(norm()(x))
    yield layers.Add()([relu(layers.Add()([y, x])), layers.Activation("tanh")(y)])
    shared = norm()
    yield layers.Add()([relu(add([gated(shared(x)), x])), layers.Activation("tanh")(shared(x))])


@pytest.mark.parametrize("number", range(17))
def test_other_endings_keep_their_layers(number):
    x = keras.Input(SHAPE)
    model = keras.Model(x, list(other_endings(x))[number])
    randomise(model)
    twin = senet.accelerate(model)
    assert not tails(twin)
    assert_close(numpy(twin(images())), numpy(model(images())), 1e-6)


def test_maps_of_one_pixel_times_themselves_have_no_gate():
    x = keras.Input((1, 1, 8))
    y = layers.BatchNormalization()(x)
    model = keras.Model(x, layers.ReLU()(layers.Multiply()([y, y])))
    twin = senet.accelerate(model)
    assert not tails(twin)
    one = images(shape=(1, 1, 8))
    assert_close(numpy(twin(one, training=True)), numpy(model(one, training=True)), 1e-5)


@pytest.mark.parametrize("name", ["se_resnet50", "se_resnet18", "resnet50"])
def test_the_tail_of_every_block_with_a_gate_is_fused_and_other_norms_are_kernels(name):
    model = senet.create(name, variant="torch", input_shape=(32, 32, 3))
    norms = sum(isinstance(layer, layers.BatchNormalization) for layer in model.layers)
    fused = sum(name.endswith("_se_scale") for name in (layer.name for layer in model.layers))
    assert fused == dict(se_resnet50=16, se_resnet18=8, resnet50=0)[name]
    assert len(tails(senet.accelerate(model))) == fused
    faster = rebuild_faster(model).layers
    kernels = sum(isinstance(layer, FusedBatchNormalization) for layer in faster)
    assert kernels == norms - fused


def test_second_derivatives_are_refused_and_of_the_network_there_are_some():
    import tensorflow as tf

    model, twin = network()

    def second(one, x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                total = tf.reduce_sum(one(x, training=True) ** 2)
            penalty = tf.reduce_sum(inner.gradient(total, x) ** 2)
        return outer.gradient(penalty, x)

    x = tf.constant(images())
    assert abs(numpy(second(model, x))).max() > 0
    with pytest.raises(LookupError, match="Take second ones of the network"):
        second(twin, x)


def test_training_follows_that_of_the_stock_model():
    options = dict(n_blocks=(1, 1, 1), classes=4)
    model, other = (senet.create("se_resnet20_cifar", **options) for _ in range(2))
    other.set_weights(model.get_weights())
    x, y = images(32, (32, 32, 3)), np.arange(32) % 4
    losses = []
    for trained in (senet.accelerate(model), other):
        trained.compile(
            keras.optimizers.SGD(0.05, 0.9), "sparse_categorical_crossentropy", jit_compile=False
        )
        losses.append([trained.train_on_batch(x, y) for _ in range(10)])
    assert losses[0][-1] < 0.8 * losses[0][0]
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_same_images_give_the_same_bits(policy, mixed):
    keras.config.set_dtype_policy(policy)
    model, twin = network(shape=(40, 40, 8))
    assert len(tails(twin)) == 1
    start = model.get_weights()
    x, weight = images(16, (40, 40, 8)), images(16, (40, 40, 8), seed=1)
    found = []
    for _ in range(3):
        model.set_weights(start)
        of_variables, of_inputs = gradients(twin, x, weight)
        found.append([*of_variables, of_inputs, *statistics(model)])
    for again in found[1:]:
        for one, another in zip(found[0], again, strict=True):
            np.testing.assert_array_equal(one, another)


MAPS, OF_CHANNELS, OF_IMAGES = (4, 24, 40, 16), (16,), (4, 16)


@pytest.mark.parametrize(
    ("loop", "shapes"),
    [
        ("_sums", [MAPS]),
        ("_merge", [MAPS, OF_CHANNELS, OF_IMAGES, OF_IMAGES]),
        ("_merge", [MAPS, OF_CHANNELS, OF_IMAGES, OF_IMAGES, MAPS]),
        ("_of_relu", [MAPS, MAPS]),
        ("_of_factors", [MAPS, MAPS, OF_CHANNELS]),
        ("_of_maps", [MAPS, MAPS, OF_CHANNELS, OF_IMAGES, OF_IMAGES, OF_IMAGES]),
    ],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_xla_makes_one_loop_which_reads_each_of_the_maps_once(dtype, loop, shapes):
    import tensorflow as tf

    arrays = [tf.zeros(shape, dtype if shape == MAPS else "float32") for shape in shapes]
    function = getattr(fused_tail, loop)
    compiled = tf.function(lambda *x: function(*x), jit_compile=True, autograph=False)
    text = compiled.experimental_get_compiler_ir(*arrays)(stage="optimized_hlo")
    entry = text[text.index("ENTRY") :]
    size = {"bfloat16": "bf16", "float32": "f32"}[dtype] + "[4,24,40,16]"
    maps = re.findall(rf"(\S+) = {re.escape(size)}\S* parameter", entry)
    assert len(maps) == shapes.count(MAPS)
    assert set(re.findall(r" = \S+ ([a-z]+)\(", entry)) <= {"parameter", "fusion", "bitcast"}
    loops = re.findall(r" = (\S+) fusion\((.*?)\)", entry)
    reads = [
        [one in re.findall(r"%[\w.]+", read) for one in maps]
        for made, read in loops
        if not (loop == "_sums" and made.startswith("f32[16]"))  # of a sample of the pixels
    ]
    assert reads == [[True] * len(maps)], entry
