"""Every choice of the `Spec`: wiring against NumPy, stock files, a training step."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest

import senet
from senet.graph import inbound
from senet.models import se_preresnet, se_resnet, se_resnext
from senet.models.blocks import squeezed_width
from senet.models.complexity import shapes_only
from senet.models.family import named_spec
from senet.models.spec import Spec
from tests import numpy_layers as reference
from tests.conftest import outputs, randomise

IMAGES = np.random.default_rng(1).normal(size=(3, 9, 11, 8))
TINY = dict(input_shape=(32, 32, 3), classes=4)
EAGER = dict(run_eagerly=True, jit_compile=False)
"""For one step: compiling it takes longer, and is tested where twins and training are."""
BOTTLENECK = dict(residual="bottleneck")
BASIC = dict(residual="basic")
RESNEXT = dict(cardinality=2, strided="3x3")
PRE = dict(preactivation=True)

CASES = [
    *(
        dict(placement=place, squeeze=squeeze, excitation=gate, se_bias=bias)
        for (place, squeeze), (gate, bias) in zip(
            itertools.product(
                ("standard", "pre", "post", "identity", "3x3"), ("mean", "max", "none")
            ),
            itertools.cycle(itertools.product(("sigmoid", "tanh", "relu"), (False, True))),
            strict=False,
        )
    ),
    *(RESNEXT | dict(placement=place) for place in ("standard", "pre", "post", "identity", "3x3")),
    *(BASIC | dict(placement=place) for place in ("standard", "pre", "post", "identity")),
    *(
        dict(projection=kind, strided=where)
        for kind in ("3x3", "average")
        for where in ("reduce", "3x3")
    ),
    BASIC | dict(projection="average", antialias=True),
    BASIC | dict(last_relu=True),
    dict(strided="3x3", antialias=True),
    dict(strided="3x3", antialias=True, projection="average", se_bias=True),
    dict(reduce_divisor=2, projection="3x3") | RESNEXT,
    dict(dilation=(2, 2)),
    dict(dilation=(1, 2), projection="3x3"),
    BASIC | dict(dilation=(1, 2)),
    RESNEXT | dict(dilation=(2, 4)),
    PRE | BASIC,
    PRE | BOTTLENECK,
    PRE | dict(strided="3x3", se_bias=True, squeeze="max", excitation="tanh"),
    PRE | BASIC | dict(dilation=(1, 2)),
]


def build(spec, projects, strides=2):
    """A model of one block, and its input."""
    inputs = keras.Input(IMAGES.shape[1:])
    if spec.cardinality > 1:
        arguments = (4, 16, spec.cardinality) if projects else (4, 8, spec.cardinality)
        kind = se_resnext
    else:
        kind = se_preresnet if spec.preactivation else se_resnet
        arguments = (8 if spec.residual == "basic" else 2,)
    if projects:
        made = kind.projection_block(inputs, *arguments, strides, 2, spec=spec, name="b")
    else:
        made = kind.identity_block(inputs, *arguments, 2, spec=spec, name="b")
    return keras.Model(inputs, made)


@pytest.mark.parametrize("fields", CASES, ids=lambda f: ",".join(map(str, f.values())))
@pytest.mark.parametrize("projects", [True, False])
def test_a_block_is_its_wiring(fields, projects):
    spec = Spec(**fields)
    strides = 1 if spec.dilation != (1, 1) else 2
    model = build(spec, projects, strides)
    randomise(model)
    result = keras.ops.convert_to_numpy(model(IMAGES.astype("float32")))
    expected = reference.Weights(model).block(
        IMAGES, "b", spec, stride=strides if projects else 1, squeeze=True
    )
    assert result.shape == expected.shape
    assert abs(result - expected).max() < 2e-5 * abs(expected).max()


@pytest.mark.parametrize("fields", CASES, ids=lambda f: ",".join(map(str, f.values())))
def test_a_network_of_every_choice_saves_loads_in_stock_keras_and_trains(tmp_path, fields):
    options = dict(n_blocks=(1, 2), n_filters=(8, 16), ratio=4, stem="3x3", stem_filters=(8,))
    options |= dict(stochastic_depth=0.2, dropout=0.1, input_size=32)
    if "dilation" in fields:  # which no stock convolution has together with a stride
        options |= dict(n_blocks=(2,), n_filters=(8,))
    name = "se_resnext50_32x4d" if fields.get("cardinality") else "se_resnet50"
    options |= dict(base_width=64) if fields.get("cardinality") else {}
    model = senet.create(name, classes=3, **options | fields)
    images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
    twin = senet.accelerate(model)
    twin.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", **EAGER)
    before = [keras.ops.convert_to_numpy(w).copy() for w in model.trainable_variables]
    assert np.isfinite(twin.train_on_batch(images, np.arange(8) % 3))
    still = [
        w.path
        for w, old in zip(model.trainable_variables, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(w), old)
    ]
    assert [
        path for path in still if "_se_" not in path
    ] == []  # of two hidden units both may be dead at first
    assert len(still) <= 4
    senet.save(model, tmp_path / "model.keras")
    expected = outputs(model, images)
    for again in (
        keras.saving.load_model(tmp_path / "model.keras"),
        senet.load(tmp_path / "model.keras"),
    ):
        np.testing.assert_array_equal(outputs(again, images), expected)
    assert senet.load(tmp_path / "model.keras").card.spec == model.card.spec


def of_one_block():
    """The first of the named networks that are the same with one block in each group."""
    first = {}
    for name in senet.list_models("se*"):
        spec = named_spec(name)
        first.setdefault(dataclasses.replace(spec, n_blocks=(1,) * len(spec.n_blocks)), name)
    return list(first.values())


@pytest.mark.parametrize("name", of_one_block())
def test_every_named_network_trains_a_step_and_loads_in_stock_keras(tmp_path, name):
    """At full width with one block in each group; depth repeats what is tested here."""
    groups = 3 if name.endswith("cifar") else 4
    options = dict(n_blocks=(1,) * groups, input_shape=(32, 32, 3), classes=3)
    model = senet.create(name, **options)
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    twin = senet.accelerate(model)
    twin.compile("sgd", "sparse_categorical_crossentropy", **EAGER)
    assert np.isfinite(twin.train_on_batch(images, np.arange(4) % 3))
    senet.save(model, tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(again, images), outputs(model, images))


def placed(model):
    """Blocks that have squeeze and excitation."""
    return [block.scale.removesuffix("_se_scale") for block in senet.find_se_blocks(model)]


def test_se_stands_in_the_stages_and_blocks_that_are_named():
    model = senet.create(
        "se_resnet50", input_shape=(32, 32, 3), classes=2, se_at=("stage2", "stage4_block1")
    )
    assert placed(model) == [*(f"stage2_block{i}" for i in (1, 2, 3, 4)), "stage4_block1"]
    none = senet.create("se_resnet50", input_shape=(32, 32, 3), classes=2, se_at=())
    assert placed(none) == []
    assert (
        none.count_params()
        == senet.create("resnet50", input_shape=(32, 32, 3), classes=2).count_params()
    )


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "3x3"])
@pytest.mark.parametrize(
    ("squeeze", "gate"), [("mean", "tanh"), ("max", "relu"), ("none", "sigmoid")]
)
def test_blocks_are_found_wherever_they_stand(placement, squeeze, gate):
    options = dict(placement=placement, squeeze=squeeze, excitation=gate)
    with shapes_only():
        model = senet.create("se_resnet50", input_shape=(32, 32, 3), classes=2, **options)
    assert len(placed(model)) == 16
    assert all((b.squeeze is None) == (squeeze == "none") for b in senet.find_se_blocks(model))


def test_the_stems_are_what_they_are_called():
    images = np.random.default_rng(2).normal(size=(2, 37, 40, 3))
    spec = Spec(stem="deep", stem_filters=(4, 4, 8), stem_pool="average", antialias=True)
    inputs = keras.Input(images.shape[1:])
    model = keras.Model(inputs, se_resnet.stem(inputs, spec=spec, name="stem"))
    randomise(model)
    weights, x = reference.Weights(model), images
    for i, stride in ((1, 2), (2, 1), (3, 1)):
        x = reference.relu(weights.conv_norm(x, f"stem_conv{i}", stride))
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    expected = reference.average_pool(x, 2, 2)
    result = keras.ops.convert_to_numpy(model(images.astype("float32")))
    assert result.shape == expected.shape
    assert abs(result - expected).max() < 1e-5 * abs(expected).max()


def test_stochastic_depth_rises_from_zero_and_drops_whole_branches_in_training_only():
    model = senet.create("se_resnet50", input_shape=(32, 32, 3), classes=2, stochastic_depth=0.3)
    drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    expected = [0.3 * i / 15 for i in range(16)]
    assert [layer.rate for layer in drops] == pytest.approx(expected[1:])
    x = np.ones((400, 2, 2, 3), "float32")
    out = keras.ops.convert_to_numpy(drops[-1](x, training=True))
    per_image = out.reshape(400, -1)
    assert (per_image == per_image[:, :1]).all()
    assert 0.2 < (per_image[:, 0] == 0).mean() < 0.4
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(drops[-1](x, training=False)), x)


@pytest.mark.parametrize("residual", ["bottleneck", "basic"])
def test_with_zero_last_norms_every_identity_block_starts_as_its_shortcut(residual):
    spec = Spec(zero_last_norm=True, residual=residual)
    inputs = keras.Input(IMAGES.shape[1:])
    filters = 2 if residual == "bottleneck" else 8
    block = keras.Model(inputs, se_resnet.identity_block(inputs, filters, 4, spec=spec))
    result = keras.ops.convert_to_numpy(block(IMAGES.astype("float32")))
    np.testing.assert_allclose(result, np.maximum(IMAGES, 0), rtol=1e-6)


@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d", "preresnet164_cifar", "resnet18"])
@pytest.mark.parametrize("strided", ["reduce", "3x3"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_computes_what_strides_skip(name, strided, output_stride):
    """A dilated network without SE gives the strided one's maps at every second pixel."""
    cifar = name.endswith("cifar")
    if cifar and output_stride == 16:
        pytest.skip("its output stride is 4")
    options = dict(include_top=False, input_shape=(64, 64, 3))
    if not (name.endswith("18") or (strided == "reduce" and "next" in name)):
        options |= dict(strided=strided)
    options |= dict(n_blocks=(1, 1, 2) if cifar else (1, 1, 2, 2))
    strided_model = senet.create(name, **options)
    dilated = senet.create(name, **options, output_stride=output_stride)
    randomise(strided_model)
    for layer in strided_model.layers:  # so that sums stay of the size of their terms
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean, variance * 50])
    dilated.set_weights(strided_model.get_weights())
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(strided_model(images))
    result = keras.ops.convert_to_numpy(dilated(images))
    step = 1 if cifar else 32 // output_stride
    assert result.shape[1] == (16 if cifar else 64 // output_stride)
    np.testing.assert_allclose(
        result[:, ::step, ::step], expected, rtol=1e-4, atol=1e-5 * abs(expected).max()
    )


@pytest.mark.parametrize(
    ("name", "strides", "shapes"),
    [
        ("se_resnet50", (4, 8, 16, 32), [(16, 256), (8, 512), (4, 1024), (2, 2048)]),
        ("se_resnet18", (2, 32), [(32, 64), (2, 512)]),
        ("senet154", (2, 4), [(32, 128), (16, 256)]),
        ("se_resnet20_cifar", (1, 2, 4), [(64, 16), (32, 32), (16, 64)]),
        ("se_preresnet164_cifar", (1, 4), [(64, 64), (16, 256)]),
    ],
)
def test_feature_maps_come_at_the_strides_asked_for(tmp_path, name, strides, shapes):
    groups = 3 if "cifar" in name else 4
    options = dict(input_shape=(64, 64, 3), n_blocks=(1,) * (groups - 1) + (2,))
    model = senet.create(name, features=strides, **options)
    assert [(m.shape[1], m.shape[3]) for m in model.outputs] == shapes
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    deepest = keras.ops.convert_to_numpy(model(images)[-1])
    if strides[-1] == (4 if "cifar" in name else 32):
        whole = senet.create(name, include_top=False, **options)
        whole.set_weights(model.get_weights())
        maps = keras.ops.convert_to_numpy(whole(images))
        np.testing.assert_allclose(deepest, maps, rtol=1e-4, atol=1e-5)
    senet.save(model, tmp_path / "features.keras")
    again = senet.load(tmp_path / "features.keras")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(again(images)[-1]), deepest, rtol=1e-5)


def test_dilated_features_are_the_deepest_of_their_resolution():
    model = senet.create("se_resnet50", features=(4, 8), output_stride=8, input_shape=(64, 64, 3))
    assert [tuple(m.shape[1:]) for m in model.outputs] == [(16, 16, 256), (8, 8, 2048)]


@pytest.mark.parametrize(
    ("channels", "ratio", "step", "width"),
    [
        (256, 16, 1, 16),
        (64, 16, 1, 4),
        (64, 16, 8, 8),
        (256, 16, 8, 16),
        (320, 16, 8, 24),
        (80, 32, 1, 2),
    ],
)
def test_the_width_of_the_squeeze_is_rounded_as_published(channels, ratio, step, width):
    assert squeezed_width(channels, ratio, Spec(se_divisor=step)) == width


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(placement="before"), "placement must be one of 'standard', 'pre'"),
        (dict(se_at=("stage5",)), "no 'stage5'"),
        (dict(se_at=("stage1_block4",)), "no 'stage1_block4'"),
        (dict(se_at=["stage1"]), "se_at must be a tuple of names or None"),
        (dict(residual="basic", placement="3x3"), "inside a bottleneck"),
        (dict(preactivation=True, placement="post"), "With preactivation"),
        (dict(preactivation=True, zero_last_norm=True), "With preactivation"),
        (dict(antialias=True, output_stride=8), "No stock layer averages with dilation"),
        (dict(output_stride=4), "output_stride must be one of 8, 16 or None"),
        (dict(stem="deep"), "three for a deep one"),
        (dict(stem_filters=(32, 64)), "one value for each convolution"),
        (dict(dropout=1.0), "dropout must be a number from 0 to below 1"),
        (dict(dilation=(1, 2, 4)), "dilation must be a tuple of 2 positive integers"),
        (dict(last_relu=True), "last_relu belongs to basic blocks"),
        (dict(residual="basic", reduce_divisor=2), "reduce_divisor at 1"),
    ],
)
def test_choices_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Spec(**fields)


def test_a_dilated_block_with_a_stride_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="use output_stride=8 or 16"):
        senet.create("resnext50_32x4d", dilation=(2, 2), input_shape=(64, 64, 3))


def test_strides_that_a_network_has_not_and_pooled_features_are_refused():
    with pytest.raises(ValueError, match="strides of this network, 2, 4, 8, 16, 32; got 64"):
        senet.create("se_resnet18", features=(64,), input_shape=(64, 64, 3))
    with pytest.raises(ValueError, match="leave pooling at None"):
        senet.create("se_resnet18", features=(32,), pooling="avg", input_shape=(64, 64, 3))


def test_the_specs_of_the_pages_are_those_of_the_family():
    from senet.models.family import SPECS

    assert SPECS["se_resnext50_32x4d"] == se_resnext.SE_RESNEXT50
    assert SPECS["se_preresnet164_cifar"] == se_preresnet.SE_PRERESNET164


@pytest.mark.parametrize("name", ["se_preresnet110_cifar", "se_preresnet164_cifar"])
def test_a_preactivated_network_ends_in_a_norm_and_a_relu(name):
    model = senet.create(name, **TINY, n_blocks=(1, 1, 1))
    sources = inbound(model)
    assert sources["classifier_pool"] == ["final_relu"]
    assert sources["final_relu"] == ["final_bn"]
    assert sources["final_bn"] == ["stage3_block1_add"]
    assert sources["stage1_block1_pre_bn"] == ["stem_conv"]


def test_the_stem_of_a_preactivated_network_may_be_that_of_others():
    model = senet.create("se_preresnet110_cifar", **TINY, n_blocks=(1, 1, 1), stem="7x7")
    assert model.get_layer("stem_conv").strides == (2, 2)
    assert model.get_layer("stage1_block1_add").output.shape[1] == 8


@pytest.mark.parametrize("name", ["se_resnet50", "se_resnet18", "se_preresnet110_cifar"])
def test_stochastic_depth_drops_the_residual_branch_and_not_the_shortcut(name):
    n_blocks = (2,) * (3 if "cifar" in name else 4)
    model = senet.create(name, **TINY, n_blocks=n_blocks, stochastic_depth=0.3)
    sources, last = inbound(model), 2 * len(n_blocks) - 1
    rates = {
        layer.name.removesuffix("_drop"): layer.rate
        for layer in model.layers
        if layer.name.endswith("_drop")
    }
    blocks = [f"stage{i + 1}_block{j + 1}" for i in range(len(n_blocks)) for j in range(2)]
    assert rates == pytest.approx({b: 0.3 * i / last for i, b in enumerate(blocks) if i})
    for block in rates:
        assert sources[f"{block}_drop"] == [f"{block}_se_scale"]
        assert f"{block}_drop" in sources[f"{block}_add"]


def test_dropout_stands_before_the_classifier_where_the_spec_has_it():
    options = TINY | dict(n_blocks=(1, 1, 1, 1))
    model = senet.create("senet154", **options)
    assert model.get_layer("classifier_dropout").rate == 0.2
    assert inbound(model)["classifier"] == ["classifier_dropout"]
    plain = senet.create("se_resnet50", **options)
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in plain.layers)
    assert (
        senet.create("se_resnet50", **options, dropout=0.5).get_layer("classifier_dropout").rate
        == 0.5
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(preactivation=True, antialias=True, strided="3x3"), "With preactivation"),
        (dict(projection="average", dilation=(1, 2)), "No stock layer averages"),
        (dict(ratio=True), "ratio must be a positive integer"),
        (dict(base_width=128), "widths of grouped blocks"),
    ],
)
def test_more_choices_that_mean_nothing(fields, message):
    with pytest.raises(ValueError, match=message):
        Spec(**fields)


def test_whole_numbers_are_rates_too():
    assert Spec(dropout=0, stochastic_depth=0) == Spec()
