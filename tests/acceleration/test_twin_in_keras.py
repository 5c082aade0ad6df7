"""What Keras users do with a model, done with its twin."""

import copy
import pathlib
import subprocess
import sys

import grain
import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.acceleration import rebuild_faster
from senet.acceleration.tied import Tied
from tests.acceleration.test_twin import numpy, tensorflow_only

pytestmark = pytest.mark.filterwarnings("ignore:.*no class names and preprocessing:UserWarning")
NAMES = ["se_resnet20_cifar", "se_resnext50_32x4d"]


def network(name="se_resnet20_cifar"):
    n_blocks = (1, 1, 1) if name == "se_resnet20_cifar" else (1, 1, 1, 1)
    return senet.create(name, n_blocks=n_blocks, input_shape=(32, 32, 3), classes=3)


def pair(name="se_resnet20_cifar"):
    """A network and its twin, compiled as users do."""
    model = network(name)
    twin = senet.accelerate(model)
    twin.compile(
        keras.optimizers.SGD(0.02, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model, twin


IMAGES = np.random.default_rng(0).normal(size=(12, 32, 32, 3)).astype("float32")
LABELS = np.arange(12) % 3


def fit(model, *callbacks, **options):
    options = dict(batch_size=4, epochs=2, verbose=0, shuffle=False) | options
    return model.fit(IMAGES, LABELS, callbacks=list(callbacks), **options)


def answers(model):
    return numpy(model(IMAGES, training=False))


def values(model):
    return [numpy(v) for v in model.variables]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


STOCK = """
import sys

sys.modules["senet"] = None  # importing it raises
import keras
import numpy as np

path, images, expected, steps = sys.argv[1:]
model = keras.saving.load_model(path)
found = keras.ops.convert_to_numpy(model(np.load(images), training=False))
np.testing.assert_array_equal(found, np.load(expected))
assert int(model.optimizer.iterations) == int(steps)
model.fit(np.load(images), np.zeros(len(found)), batch_size=4, verbose=0)  # goes on
assert int(model.optimizer.iterations) == int(steps) + 3
"""


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_of_whole_models_are_the_stock_network(tmp_path, name):
    model, twin = pair(name)
    path = tmp_path / "{epoch}.keras"
    fit(twin, keras.callbacks.ModelCheckpoint(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.keras", "2.keras"]
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "expected.npy", answers(model))
    child = [sys.executable, "-c", STOCK, "2.keras", "images.npy", "expected.npy", "6"]
    subprocess.run(child, check=True, cwd=tmp_path)
    np.testing.assert_array_equal(answers(senet.load(tmp_path / "2.keras")), answers(model))


def test_the_optimizer_goes_on_in_the_stock_network_as_in_the_twin(tmp_path):
    _, twin = pair()
    fit(twin)
    twin.save(tmp_path / "half.keras")
    stock = keras.saving.load_model(tmp_path / "half.keras")
    assert [v.path for v in stock.optimizer.variables] == [v.path for v in twin.optimizer.variables]
    assert_same(map(numpy, stock.optimizer.variables), map(numpy, twin.optimizer.variables))
    on = [fit(one, epochs=1).history["loss"][0] for one in (stock, twin)]
    np.testing.assert_allclose(*on, rtol=1e-4)
    for ours, theirs in zip(values(twin), values(stock), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_checkpoints_of_weights_fit_the_stock_network(tmp_path):
    model, twin = pair()
    path = tmp_path / "twin.weights.h5"
    fit(twin, keras.callbacks.ModelCheckpoint(path, save_weights_only=True))
    other = network()
    other.load_weights(path)
    assert_same(values(other), values(model))
    stock = tmp_path / "stock.weights.h5"
    network().save_weights(stock)
    model = network()
    senet.accelerate(model).load_weights(stock)
    other.load_weights(stock)
    assert_same(values(other), values(model))


def test_weights_have_the_order_of_the_stock_network():
    model, twin = pair("se_resnext50_32x4d")
    for part in ("weights", "variables", "trainable_variables", "non_trainable_variables"):
        assert [id(v) for v in getattr(twin, part)] == [id(v) for v in getattr(model, part)], part
    twin.set_weights([w + 1 for w in twin.get_weights()])
    assert_same(model.get_weights(), twin.get_weights())


@pytest.mark.parametrize("write", ["save", "save_model", "config", "copy"])
def test_nothing_that_keras_writes_names_this_package(tmp_path, write):
    model, twin = pair()
    fit(twin, epochs=1)
    if write == "config":
        kept = keras.saving.serialize_keras_object(twin)
        assert kept["config"] == keras.saving.serialize_keras_object(model)["config"]
        assert kept["class_name"] == "Functional"
        made = keras.saving.deserialize_keras_object(kept)
        made.set_weights(twin.get_weights())
    elif write == "copy":
        made = copy.deepcopy(twin)
    else:
        path = tmp_path / "twin.keras"
        twin.save(path) if write == "save" else keras.saving.save_model(twin, path)
        made = keras.saving.load_model(path)
    assert type(made) is type(model)
    assert [layer.name for layer in made.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(answers(made), answers(model))


def test_a_clone_is_a_stock_network_of_its_own():
    model, twin = pair()
    clone = keras.models.clone_model(twin)
    assert clone.get_config() == model.get_config()
    assert not {id(v) for v in clone.variables} & {id(v) for v in model.variables}
    clone.set_weights(twin.get_weights())
    np.testing.assert_array_equal(answers(clone), answers(model))


class Stop(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_backup_and_restore_goes_on_where_it_was_interrupted(tmp_path):
    start = network().get_weights()
    _, twin = pair()
    twin.set_weights(start)
    with pytest.raises(KeyboardInterrupt):
        fit(twin, keras.callbacks.BackupAndRestore(tmp_path), Stop(2), epochs=3)
    _, again = pair()
    rest = fit(again, keras.callbacks.BackupAndRestore(tmp_path), epochs=3)
    assert rest.epoch == [2]
    _, whole = pair()
    whole.set_weights(start)
    fit(whole, epochs=3)
    for ours, theirs in zip(values(again), values(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


class Keep(keras.callbacks.Callback):
    """The weights after every epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


def test_early_stopping_restores_the_best_weights():
    model, twin = pair()
    keep = Keep()
    best = keras.callbacks.EarlyStopping(
        "loss", mode="max", patience=2, restore_best_weights=True
    )  # the loss falls: the first epoch has the most of it
    history = fit(twin, keep, best, epochs=8)
    losses = history.history["loss"]
    assert len(losses) == 3
    assert losses[0] == max(losses)
    assert_same(model.get_weights(), keep.weights[0])


def test_tensorboard_has_graph_weights_and_scores(tmp_path):
    pytest.importorskip("tensorflow", reason="Keras writes event files with TensorFlow")
    _, twin = pair()
    fit(twin, keras.callbacks.TensorBoard(tmp_path, histogram_freq=1), validation_split=0.25)
    (events,) = (tmp_path / "train").glob("events*")
    content = events.read_bytes()
    assert b"epoch_loss" in content
    assert b"kernel/histogram" in content
    assert b"stage1_block1_se_scale" in content  # the graph that is drawn is the network's
    assert list((tmp_path / "validation").glob("events*"))


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        part = slice(4 * i, 4 * i + 4)
        return IMAGES[part], LABELS[part]


def tf_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4)


def grain_data():
    return grain.MapDataset.source(list(zip(IMAGES, LABELS, strict=True))).batch(4)


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")  # Keras, of Grain
@pytest.mark.parametrize("data", [tf_data, Batches, grain_data])
def test_inputs_of_every_kind_train_alike(data):
    start = network().get_weights()
    _, one = pair()
    _, other = pair()
    for model in (one, other):
        model.set_weights(start)
    fit(one)
    other.fit(data(), epochs=2, verbose=0, shuffle=False)
    assert other.evaluate(data(), verbose=0, return_dict=True)["accuracy"] >= 0
    assert other.predict(data(), verbose=0).shape == (12, 3)
    for ours, theirs in zip(values(one), values(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_this_package_says_of_a_twin_is_what_it_says_of_the_network(tmp_path):
    model, twin = pair()
    fit(twin)
    assert senet.find_se_blocks(twin) == senet.find_se_blocks(model)
    assert senet.complexity(twin) == senet.complexity(model)
    for name, gates in senet.gates(model, IMAGES).items():
        np.testing.assert_array_equal(senet.gates(twin, IMAGES)[name], gates)
    maps = "stage1_block1_add"
    assert twin.get_layer(maps).output is model.get_layer(maps).output
    senet.save(twin, tmp_path / "twin.keras", class_names=tuple("abc"))
    assert senet.load(tmp_path / "twin.keras").card.class_names == tuple("abc")
    again = senet.accelerate(twin)
    np.testing.assert_array_equal(answers(again), answers(twin))


@pytest.fixture
def stand_ins(monkeypatch):
    """Names of the layers that were stood in for."""
    called = []
    call = Tied.call

    def counted(self, *args, **kwargs):
        called.append(self.name)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(Tied, "call", counted)
    return called


def test_what_trains_is_the_faster_graph_inside_other_models_too(stand_ins):
    _, twin = pair()
    stand_ins.clear()
    fit(twin, epochs=1)
    assert "classifier" in stand_ins
    whole = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1.0), twin])
    stand_ins.clear()
    whole.compile("sgd", "sparse_categorical_crossentropy")
    fit(whole, epochs=1)
    assert "classifier" in stand_ins


def test_models_inside_a_model_are_accelerated_and_saved_as_they_are(tmp_path, stand_ins):
    inputs = keras.Input((32, 32, 3))
    backbone = senet.create("se_resnet20_cifar", n_blocks=(1, 1, 1), include_top=False)
    x = layers.GlobalAveragePooling2D()(backbone(inputs))
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="head")(x))
    twin = senet.accelerate(model)
    twin.compile("sgd", "sparse_categorical_crossentropy")
    stand_ins.clear()
    fit(twin, epochs=1)
    assert {"head", "stem_conv"} <= set(stand_ins)
    twin.save(tmp_path / "whole.keras")
    stock = keras.saving.load_model(tmp_path / "whole.keras")
    assert_same(values(stock), values(model))
    np.testing.assert_allclose(answers(twin), answers(stock), atol=1e-5)


def test_what_layers_add_to_the_loss_counts():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, kernel_regularizer="l2", activity_regularizer="l1")(inputs)
    x = layers.ActivityRegularization(l2=0.1)(x)
    outputs = layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    losses = []
    for one in (model, senet.accelerate(model)):
        one.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(one.evaluate(IMAGES, LABELS, verbose=0))
    plain = keras.losses.sparse_categorical_crossentropy(LABELS, answers(model))
    assert losses[0] > float(keras.ops.mean(plain)) + 0.1
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_layers_of_users_keep_what_they_do():
    class Multiplied(keras.layers.Layer):  # whose configuration does not say by what
        def __init__(self, by, **options):
            super().__init__(**options)
            self.by = by

        def call(self, x):
            return x * self.by

        def get_config(self):
            return {"name": self.name}

    inputs = keras.Input((4,), name="numbers")
    model = keras.Model({"numbers": inputs}, {"more": Multiplied(3.0)(inputs)})
    x = np.ones((2, 4), "float32")
    found = senet.accelerate(model)({"numbers": x})
    np.testing.assert_array_equal(numpy(found["more"]), 3 * x)


def test_a_twin_is_exported_as_its_network(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a SavedModel of the other backends needs TensorFlow beside them")
    import tensorflow as tf

    model, twin = pair()
    fit(twin, epochs=1)
    twin.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(numpy(served.serve(IMAGES)), answers(model), atol=1e-5)
    senet.save(
        twin,
        tmp_path / "twin.keras",
        class_names=tuple("abc"),
        preprocessing=senet.Preprocessing.of_values("0-1", 32),
    )
    known = senet.accelerate(senet.load(tmp_path / "twin.keras"))
    senet.export(known, tmp_path / "openvino")
    assert pathlib.Path(tmp_path / "openvino" / "model.xml").exists()
    pixels = np.zeros((32, 32, 3), "uint8")
    assert senet.predict(known, pixels)[0].name in "abc"


class Own(keras.Model):
    """A functional model of a class with a constructor of its own, as many backbones are."""

    def __init__(self, filters):
        inputs = keras.Input((32, 32, 3))
        super().__init__(inputs, layers.Conv2D(filters, 1)(inputs))


def test_models_of_classes_of_users_are_used_as_they_are_or_refused():
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(Own(4)(inputs)))
    np.testing.assert_allclose(answers(senet.accelerate(model)), answers(model), atol=1e-6)

    class Trained(keras.Model):
        def train_step(self, *args):
            raise NotImplementedError

    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match="Trained has train_step of its own"):
        senet.accelerate(Trained(inputs, layers.Dense(3)(inputs)))


@pytest.mark.parametrize("kind", ["grouped", "1x1", "norm", "relu"])
def test_losses_of_layers_that_are_replaced_count(kind):
    inputs = keras.Input((32, 32, 8))
    own = dict(activity_regularizer="l1")
    if kind == "relu":
        x = layers.ReLU(**own)(layers.BatchNormalization()(inputs))
    elif kind == "norm":
        x = layers.ReLU()(layers.BatchNormalization(**own)(inputs))
    else:
        x = layers.Conv2D(8, 1 if kind == "1x1" else 3, groups=1 + (kind == "grouped"), **own)(
            inputs
        )
    model = keras.Model(inputs, x)
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 8)).astype("float32")
    losses = []
    for one in (model, senet.accelerate(model)):
        one(images, training=True)
        losses.append(sum(float(numpy(loss)) for loss in one.losses))
    assert losses[0] > 0
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_operations_masks_and_layers_of_two_tensors_are_kept():
    inputs = keras.Input((6, 4))
    x = layers.MultiHeadAttention(2, 4)(inputs + 1, inputs)
    relu = layers.ReLU()  # ends twice what is one layer on TensorFlow
    x = layers.Add()([relu(layers.BatchNormalization()(x)), relu(layers.Dense(4)(x))])
    model = keras.Model(inputs, keras.ops.sqrt(x + 2))
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    np.testing.assert_allclose(numpy(senet.accelerate(model)(x)), numpy(model(x)), atol=1e-5)
    maps = keras.Input((8, 8, 4))
    ends = [relu(layers.BatchNormalization()(maps)) for _ in range(2)]
    model = keras.Model(maps, layers.Add()(ends))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    np.testing.assert_allclose(numpy(senet.accelerate(model)(x)), numpy(model(x)), atol=1e-5)


def test_precision_and_what_the_network_was_compiled_with_stay_with_it():
    keras.config.set_dtype_policy("mixed_float16")
    model = network()
    keras.config.set_dtype_policy("float32")
    model.compile("adam", lambda y, p: keras.ops.mean(p))  # a loss that nothing could read again
    twin = senet.accelerate(model)
    assert twin.dtype_policy.name == "mixed_float16"
    twin.compile("sgd", "sparse_categorical_crossentropy")
    assert isinstance(twin.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not rebuild_faster(model).compiled


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_images_whose_size_tensorflow_does_not_know_train_too():
    tf = pytest.importorskip("tensorflow")
    kinds = tf.TensorSpec((None, None, 3)), tf.TensorSpec((), tf.int64)
    data = tf.data.Dataset.from_generator(
        lambda: zip(IMAGES, LABELS, strict=True), output_signature=kinds
    )
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 1, strides=2)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(8, 3, strides=2)(layers.Conv2D(8, 3)(x))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    twin = senet.accelerate(model)
    twin.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert np.isfinite(twin.fit(data.batch(4), verbose=0, shuffle=False).history["loss"][0])


@tensorflow_only
def test_the_graph_for_inference_has_nothing_that_only_xla_runs():
    import tensorflow as tf

    _, twin = pair("se_resnext50_32x4d")
    graph = tf.function(lambda x: twin(x, training=False)).get_concrete_function(IMAGES).graph
    nodes = list(graph.as_graph_def().node)
    nodes += [n for f in graph.as_graph_def().library.function for n in f.node_def]
    functions = graph.as_graph_def().library.function
    assert len(nodes) > 100
    assert not any(f.attr["_XlaMustCompile"].b for f in functions)
    assert not any(n.attr["_XlaMustCompile"].b for n in nodes)
