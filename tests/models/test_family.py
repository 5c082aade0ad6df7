import dataclasses
import json

import pytest
from keras import layers

import senet
from senet.models import family
from senet.models.complexity import shapes_only
from senet.models.spec import Spec
from tests.conftest import GOLDEN, count_trainable

COUNTS = json.loads((GOLDEN / "parameters.json").read_text())
CASES = [
    (name, variant, count, classes)
    for classes, table in ((1000, "counts"), (10, "counts_10_classes"))
    for name, variants in COUNTS[table].items()
    for variant, count in variants.items()
]


@pytest.mark.parametrize(("name", "variant", "count", "classes"), CASES)
def test_parameter_counts_equal_the_published_ones(name, variant, count, classes):
    with shapes_only():
        model = senet.create(name, variant=variant, classes=classes)
    assert count_trainable(model) == count


@pytest.mark.parametrize(
    ("name", "fields", "count"),
    [
        ("se_resnet110_cifar", dict(residual="bottleneck", variant="caffe"), 1_906_258),
        ("wrn16_8_cifar", dict(n_filters=(160, 320, 640)), 17_116_634),
    ],
)
def test_relatives_of_named_networks_have_their_published_counts(name, fields, count):
    """SE-ResNet-164 after the activation and WRN-16-10, as osmr/imgclsmob counts them."""
    with shapes_only():
        model = senet.create(name, classes=10, **fields)
    assert count_trainable(model) == count


@pytest.mark.parametrize(
    ("ratio", "millions"), [(2, 45.7), (4, 35.7), (8, 30.7), (16, 28.1), (32, 26.9), (None, 25.6)]
)
def test_table_10_counts_running_statistics_too(ratio, millions):
    # r = 8 is printed as 30.7 and has 30.64: the one row of the table that does not round to it.
    with shapes_only():
        count = senet.create("se_resnet50", ratio=ratio).count_params() / 1e6
    assert count == pytest.approx(millions, abs=0.051 if ratio != 8 else 0.07)


def test_every_named_network_has_a_golden_count_or_is_our_own():
    ours = {"se_resnet10", "resnet10"}
    golden = set(COUNTS["counts"]) | set(COUNTS["counts_10_classes"])
    assert golden | ours == set(senet.list_models())


@pytest.mark.parametrize(
    ("variant", "strided", "bias", "pads"),
    [
        ("seed", "reduce", False, ((1, 1), (1, 1))),
        ("caffe", "reduce", True, ((0, 1), (0, 1))),
        ("torch", "3x3", True, ((1, 1), (1, 1))),
    ],
)
def test_variants_of_se_resnet_differ_where_the_published_conventions_do(
    variant, strided, bias, pads
):
    model = senet.SEResNet50(variant=variant, input_shape=(64, 64, 3), classes=2)
    for role in ("reduce", "3x3"):
        layer = model.get_layer(f"stage2_block1_{role}_conv")
        assert layer.strides == ((2, 2) if role == strided else (1, 1))
    assert model.get_layer("stage1_block1_se_reduce").use_bias is bias
    assert model.get_layer("stem_pool_pad").padding == pads


@pytest.mark.parametrize("variant", ["seed", "caffe", "torch"])
def test_every_variant_of_se_resnext_has_its_stride_in_the_grouped_3x3(variant):
    model = senet.SEResNeXt50(variant=variant, input_shape=(64, 64, 3), classes=2)
    conv = model.get_layer("stage2_block1_3x3_conv")
    assert (conv.strides, conv.groups) == ((2, 2), 32)
    assert type(conv) is layers.Conv2D


def test_names_are_matched_by_shell_patterns():
    assert senet.list_models("se_resnext101_*") == [
        *("se_resnext101_32x4d", "se_resnext101_32x8d", "se_resnext101_64x4d"),
    ]
    assert len(senet.list_models()) == 2 * len(family.SPECS) - 1  # SENet-154 has no plain name
    assert len(set(senet.list_models())) == len(senet.list_models())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: senet.create("se_resnet5"), "Did you mean 'se_resnet50'"),
        (lambda: senet.create("SEResNet50"), "Did you mean 'se_resnet50'"),
        (lambda: senet.create("seresnext101_32x8d"), "Did you mean 'se_resnext101_32x8d'"),
        (lambda: senet.create("se_resnet50", variant="pytorch"), "Did you mean 'torch'"),
        (lambda: senet.create("se_resnet50", ration=8), "Did you mean 'ratio'"),
        (lambda: senet.create("se_resnet50", ratio=512), "number of channels, 256"),
        (lambda: Spec(strided="5x5"), "strided must be one of 'reduce', '3x3'"),
        (lambda: Spec(ratio=-1), "ratio must be a positive integer or None"),
        (lambda: Spec(n_blocks=(1, 2)), "equally long"),
        (lambda: Spec(n_blocks=[3, 4, 6, 3]), "n_blocks must be a tuple"),
        (lambda: Spec(se_bias=1), "se_bias must be True or False"),
        (lambda: Spec(norm_epsilon=0.0), "must be above 0"),
        (lambda: Spec(residual="basic", cardinality=32), "no grouped 3x3"),
        (lambda: Spec.from_json({"depth": 50}), "Unknown fields of a network's spec: depth"),
    ],
)
def test_unknown_names_and_impossible_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", list(family.SPECS))
def test_spec_survives_json(name):
    spec = dataclasses.replace(family.SPECS[name], ratio=None)
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_d_t_and_aa_networks_are_built_as_timm_builds_them():
    for name in (
        "se_resnet152d",
        "se_resnext26d_32x4d",
        "se_resnext26t_32x4d",
        "se_resnext101d_32x8d",
        "se_resnextaa101d_32x8d",
        "se_resnextaa201d_32x8d",
    ):
        spec, aa = family.SPECS[name], "aa" in name
        assert (spec.strided, spec.projection, spec.stem) == ("3x3", "average", "deep")
        assert (spec.antialias, spec.stem_pool) == (aa, "average" if aa else "padded")
