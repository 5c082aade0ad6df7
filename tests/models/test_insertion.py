import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.graph import open_path
from tests.conftest import randomise


def application(name, side=75):
    return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=4)


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def images(model, count=2):
    return np.random.default_rng(0).uniform(0, 1, (count, *model.input_shape[1:])).astype("float32")


def small(name="plain"):
    x = keras.Input((8, 8, 3), name="photo")
    y = layers.Conv2D(16, 3, name="first")(x)
    y = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(y))
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="second")(y))
    model = keras.Model(x, layers.Dense(2, name="head")(y), name=name)
    randomise(model)
    return model


@pytest.mark.parametrize(
    ("where", "scaled"),
    [
        ("norm", ["norm"]),
        (["first", "second"], ["first", "second"]),
        ("*", None),
        (lambda layer: isinstance(layer, layers.Conv2D), ["first", "second"]),
    ],
)
def test_layers_are_chosen_by_name_pattern_or_function(where, scaled):
    model = small()
    if scaled is None:  # some outputs are no maps
        with pytest.raises(ValueError, match=r"scales maps \(N, H, W, C\)"):
            senet.insert(model, 4, where)
        return
    made = senet.insert(model, 4, where)
    assert [block.scale for block in senet.find_se_blocks(made)] == [
        f"{n}_se_scale" for n in scaled
    ]
    np.testing.assert_array_equal(outputs(made, images(model)), outputs(model, images(model)))


def test_the_given_model_stays_as_it_is():
    model = small()
    before = model.get_weights()
    made = senet.insert(model, 4, "norm")
    made.set_weights([w + 1 for w in made.get_weights()])
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert made.input.name == model.input.name == "photo"
    assert senet.find_se_blocks(model) == []


def test_the_gates_follow_their_equation_with_the_papers_start():
    model = small()
    made = senet.insert(model, 4, "first", init="paper")
    x = images(model)
    u = keras.ops.convert_to_numpy(model.get_layer("first")(x))
    w1, w2 = (
        keras.ops.convert_to_numpy(made.get_layer(f"first_se_{role}").kernel)
        for role in ("reduce", "excite")
    )
    s = 1 / (1 + np.exp(-np.maximum(u.mean((1, 2)) @ w1, 0) @ w2))
    probe = keras.Model(made.input, made.get_layer("first_se_scale").output)
    np.testing.assert_allclose(outputs(probe, x), u * s[:, None, None], atol=1e-6)
    assert np.abs(outputs(made, x) - outputs(model, x)).max() > 1e-3


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="one training loop is enough")
def test_training_moves_the_gates(tmp_path):
    made = senet.insert(small(), 4, "norm")
    x = images(made, 8)
    assert (senet.gates(made, x)["norm_se_scale"] == 1).all()
    made.compile(keras.optimizers.SGD(0.1), "mse")
    made.fit(x, np.eye(2, dtype="float32")[np.arange(8) % 2], epochs=3, verbose=0)
    moved = senet.gates(made, x)["norm_se_scale"]
    assert np.abs(moved - 1).max() > 1e-3
    made.save(tmp_path / "made.keras")
    again = keras.saving.load_model(tmp_path / "made.keras")
    np.testing.assert_array_equal(outputs(again, x), outputs(made, x))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(), "No rule is known for 'plain'"),
        (dict(where="third"), "No layer of 'plain' is called like 'third'"),
        (dict(where=5), r"a function of a layer; got 5"),
        (dict(where=["norm", 5]), r"a function of a layer; got \['norm', 5\]"),
        (dict(where="norm", ratio=True), "got True"),
        (dict(where="norm", init=["paper"]), "init must be identity or paper"),
        (dict(where="norm", ratio=64), "from 1 to the number of channels, 16 behind 'norm'"),
        (dict(where="norm", ratio=0.25), "got 0.25"),
        (dict(where="norm", init="zeros"), "init must be identity or paper"),
        (dict(where="head"), r"'head' gives \(None, 2\)"),
        (dict(where=lambda layer: False), r"without a gate of its own fits where=.*>\.$"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, said):
    with pytest.raises(ValueError, match=said):
        senet.insert(small(), **arguments)


def test_a_ratio_may_be_a_whole_number_of_numpy():
    made = senet.insert(small(), np.int64(4), "norm")
    assert made.get_layer("norm_se_reduce").units == 4


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("built", ["before", "under"])
def test_identity_holds_to_the_bit_under_a_mixed_policy(precision, built):
    model = small() if built == "before" else None
    keras.config.set_dtype_policy(precision)
    model = model or small()
    made = senet.insert(model, 4, ["first", "norm"])
    x = images(model, 8)
    assert made.get_layer("norm_se_excite").compute_dtype == "float32"
    assert made.get_layer("norm_se_scale").output.dtype == model.get_layer("norm").output.dtype
    np.testing.assert_array_equal(outputs(made, x), outputs(model, x))


@pytest.mark.parametrize("chosen", ["first", "norm", "relu"])
def test_layers_with_channels_first_are_gated_channel_by_channel(chosen):
    """Though the configuration of Keras says that they come last."""
    x = keras.Input((3, 8, 10))
    y = layers.Conv2D(16, 3, data_format="channels_first", name="first")(x)
    y = layers.ReLU(name="relu")(layers.BatchNormalization(axis=1, name="norm")(y))
    made = senet.insert(keras.Model(x, y), 4, chosen)
    assert made.get_layer(f"{chosen}_se_squeeze").data_format == "channels_first"
    assert made.get_layer(f"{chosen}_se_scale").output.shape == (None, 16, 6, 8)
    assert made.get_layer(f"{chosen}_se_gate").output.shape == (None, 16, 1, 1)


def test_the_layout_of_a_layer_that_says_none_is_that_of_its_neighbours():
    x = keras.Input((4, 8, 10))
    early = layers.ReLU(name="early")(x)
    y = layers.Conv2D(16, 3, data_format="channels_first")(early)
    y = layers.ReLU(name="late")(layers.Permute((2, 3, 1), name="turned")(y))
    made = senet.insert(keras.Model(x, y), 4, ["early", "late"])
    assert made.get_layer("early_se_squeeze").data_format == "channels_first"
    assert made.get_layer("late_se_squeeze").data_format == "channels_last"


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "preresnet110_cifar"])
def test_networks_of_the_family_become_those_with_gates(name):
    model = senet.create(name, classes=3, input_shape=(32, 32, 3), stochastic_depth=0.1)
    made = senet.insert(model, init="paper")
    with_se = senet.create(f"se_{name}", classes=3, input_shape=(32, 32, 3))
    assert made.count_params() == with_se.count_params()
    blocks = senet.find_se_blocks(made)
    assert len(blocks) == len(senet.find_se_blocks(with_se))
    assert not any("drop" in block.scaled for block in blocks)  # an image is dropped with its gate
    with pytest.raises(ValueError, match="without a gate of its own fits the rule for 'se_"):
        senet.insert(with_se)


def test_the_rule_of_another_network_of_the_same_name_is_not_taken():
    with pytest.raises(ValueError, match="No rule is known for 'resnet50'"):
        senet.insert(small("resnet50"))


def test_a_place_that_has_its_gate_gets_no_second_one():
    made = senet.insert(small(), 4, "norm")
    with pytest.raises(ValueError, match="without a gate of its own fits where='norm'"):
        senet.insert(made, 4, "norm")
    again = senet.insert(made, 4, ["norm", "first"])
    scales = [block.scale for block in senet.find_se_blocks(again)]
    assert sorted(scales) == ["first_se_scale", "norm_se_scale"]


def test_a_name_that_is_taken_is_said():
    x = keras.Input((8, 8, 4), name="a_se_gate")
    with pytest.raises(ValueError, match="would be called 'a_se_gate', as another one is already"):
        senet.insert(keras.Model(x, layers.ReLU(name="a")(x)), 2, "a")


def test_functions_of_python_are_taken_along():
    x = keras.Input((8, 8, 4))
    factor = 3.0
    y = layers.Lambda(lambda maps: factor * maps)(layers.Conv2D(8, 3, name="maps")(x))
    model = keras.Model(x, y)
    made = senet.insert(model, 2, "maps")
    np.testing.assert_array_equal(outputs(made, images(model)), outputs(model, images(model)))


class Pair(layers.Layer):
    """A layer of a user with two outputs, of which no copy can be made."""

    def __init__(self, count, **options):
        super().__init__(**options)
        self.count = count

    def call(self, x):
        return x, x * self.count

    def compute_output_shape(self, shape):
        return shape, shape


class Twice(Pair):
    def get_config(self):
        return super().get_config() | {"count": self.count}


class Forgetful(Pair):
    def get_config(self):
        return {"name": self.name}


def test_what_of_a_layer_cannot_be_scaled_or_copied_is_said():
    x = keras.Input((8, 8, 4))
    one, _ = Twice(2.0, name="both")(x)
    with pytest.raises(ValueError, match="'both' gives 2 outputs"):
        senet.insert(keras.Model(x, one), 2, "both")
    one, _ = Pair(np.float32(2), name="both")(x)
    with pytest.raises(
        ValueError, match=r"cannot be read, because 'both' \(Pair\) has no get_config"
    ):
        senet.insert(keras.Model(x, layers.ReLU(name="relu")(one)), 2, "relu")
    one, _ = Forgetful(2.0, name="both")(x)
    with pytest.raises(ValueError, match="'both' cannot be copied, because Forgetful cannot be"):
        senet.insert(keras.Model(x, layers.ReLU(name="relu")(one)), 2, "relu")
    x = keras.Input((8, 8, 4), dtype="int32")
    model = keras.Model(x, layers.Identity(dtype="int32", name="whole")(x))
    with pytest.raises(ValueError, match=r"floating-point numbers.*'whole' gives .* int32"):
        senet.insert(model, 2, "whole")


def test_a_normalisation_that_was_adapted_gives_the_same():
    x = keras.Input((8, 8, 3))
    norm = layers.Normalization(axis=-1)
    model = keras.Model(x, layers.Conv2D(8, 3, name="maps")(norm(x)))
    norm.adapt(7 + 3 * images(model, 8))
    made = senet.insert(model, 2, "maps")
    np.testing.assert_array_equal(outputs(made, images(model)), outputs(model, images(model)))


@pytest.mark.parametrize("given", ["photo.keras", None, keras.Model])
def test_what_is_no_model_is_said(given):
    with pytest.raises(ValueError, match=r"A network must be a keras\.Model; got"):
        senet.insert(given, where="*")


class Own(keras.Model):
    def call(self, x):
        return 2 * super().call(x)


def test_a_model_with_a_call_of_its_own_is_refused():
    x = keras.Input((8, 8, 3))
    model = Own(x, layers.Conv2D(8, 3, name="maps")(x))
    with pytest.raises(ValueError, match="Own has a call of its own"):
        senet.insert(model, 2, "maps")
    with pytest.raises(ValueError, match="Own has a call of its own"):
        senet.gates(model, images(model))


def test_a_layer_that_is_called_twice_is_refused():
    x = keras.Input((8, 8, 4))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    with pytest.raises(ValueError, match="called more than once cannot be chosen: shared"):
        senet.insert(keras.Model(x, shared(shared(x))), 2, "shared")


def test_blocks_with_gates_of_their_own_are_left_alone():
    with pytest.raises(ValueError, match="It has 16 squeeze-and-excitation blocks"):
        senet.insert(application("EfficientNetB0"))


def test_frozen_layers_stay_frozen():
    model = small()
    model.get_layer("first").trainable = False
    made = senet.insert(model, 4, "norm")
    assert not made.get_layer("first").trainable
    assert made.get_layer("norm_se_excite").trainable


@pytest.mark.parametrize("where", ["act", "act/ir", "late"])
def test_a_model_inside_a_model_is_gated_on_the_axis_that_it_is_given(where):
    x, inside = keras.Input((3, 8, 8)), keras.Input((16, 6, 6))
    act = keras.Model(inside, layers.ReLU(name="ir")(inside), name="act")
    y = act(layers.Conv2D(16, 3, data_format="channels_first")(x))
    made = senet.insert(keras.Model(x, layers.ReLU(name="late")(y)), 4, where)
    (block,) = senet.find_se_blocks(made)
    inner, name = open_path(made, block.squeeze)
    assert inner.get_layer(name).data_format == "channels_first"


@pytest.mark.parametrize("where", ["a/shared/maps", "b/shared/maps", "maps"])
def test_a_model_that_two_models_share_is_gated_in_both(where):
    x = keras.Input((8, 8, 3))
    shared = keras.Model(x, layers.Conv2D(4, 3, name="maps")(x), name="shared")
    parts = [keras.Model(x, shared(factor * x), name=n) for factor, n in ((1.0, "a"), (2.0, "b"))]
    y = keras.Input((8, 8, 3))
    model = keras.Model(y, layers.Add()([part(y) for part in parts]))
    made = senet.insert(model, 2, where)
    scales = [block.scale for block in senet.find_se_blocks(made)]
    assert scales == ["a/shared/maps_se_scale", "b/shared/maps_se_scale"]
    copies = [made.get_layer(name).get_layer("shared") for name in ("a", "b")]
    assert copies[0] is copies[1]
    np.testing.assert_array_equal(outputs(made, images(model)), outputs(model, images(model)))


def test_what_is_frozen_within_a_layer_stays_frozen():
    x = keras.Input((4, 4, 8))
    attention = layers.MultiHeadAttention(2, 4, name="attention")
    y = layers.Reshape((4, 4, 8), name="maps")(attention(*[layers.Reshape((16, 8))(x)] * 2))
    model = keras.Model(x, y)
    attention.variables[0].trainable = False
    made = senet.insert(model, 2, "maps")
    assert len(made.trainable_weights) == len(model.trainable_weights) + 2


def test_a_normalisation_in_a_wrapper_gives_the_same():
    x, norm = keras.Input((4, 8, 8, 3)), layers.Normalization()
    norm.adapt(5 + 3 * np.random.default_rng(0).normal(size=(8, 8, 8, 3)))
    y = layers.TimeDistributed(norm)(x)
    model = keras.Model(x, layers.Conv2D(4, 3, name="maps")(y[:, 0]))
    made = senet.insert(model, 2, "maps")
    np.testing.assert_array_equal(outputs(made, images(model)), outputs(model, images(model)))


def test_names_may_come_from_a_generator():
    made = senet.insert(small(), 4, (name for name in ("first", "norm")))
    assert len(senet.find_se_blocks(made)) == 2


def test_a_layer_that_is_called_like_one_of_the_family_is_no_residual_branch():
    x = keras.Input((8, 8, 4))
    with pytest.raises(ValueError, match="No rule is known"):
        senet.insert(keras.Model(x, layers.ReLU(name="stage1_block1_add")(x)), 2)


def test_optional_inputs_stay_optional():
    x, extra = keras.Input((8, 8, 4), name="x"), keras.Input((3,), optional=True, name="extra")
    model = keras.Model({"x": x, "extra": extra}, layers.ReLU(name="maps")(x))
    made = senet.insert(model, 2, "maps")
    assert made({"x": np.ones((1, 8, 8, 4)), "extra": None}).shape == (1, 8, 8, 4)


def test_a_frozen_model_inside_without_gates_stays_frozen_as_a_whole():
    x = keras.Input((8, 8, 3))
    inner = keras.Model(x, layers.Conv2D(4, 3, name="maps")(x), name="inner")
    y = keras.Input((8, 8, 3))
    model = keras.Model(y, layers.ReLU(name="relu")(inner(y)))
    inner.trainable = False
    made = senet.insert(model, 2, "relu")
    assert not made.get_layer("inner").trainable
    assert len(made.trainable_weights) == 2


def test_layers_thawed_inside_a_frozen_model_stay_thawed():
    """As for fine-tuning, where the last layers of a frozen backbone train."""
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, name="late")(layers.Conv2D(4, 3, name="early")(x))
    inner, y = keras.Model(x, y, name="inner"), keras.Input((8, 8, 3))
    model = keras.Model(y, layers.ReLU(name="relu")(inner(y)))
    inner.trainable = False
    inner.get_layer("late").trainable = True
    assert len(model.trainable_weights) == 2
    for where in ("late", "relu"):
        made = senet.insert(model, 2, where)
        names = {weight.path for weight in made.trainable_weights}
        assert {"late/kernel", "late/bias"} < names
        assert len(names) == 4
