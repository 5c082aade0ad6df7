"""Our networks against the reference implementations, through files with foreign names."""

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import senet
from senet.models.complexity import shapes_only
from senet.weights import schemes
from tests.conftest import GOLDEN, outputs
from tests.weights import generated

WITHIN = 1e-5
REFERENCE = np.load(GOLDEN / "parity.npz")
ROWS = [key.removesuffix(": digest") for key in REFERENCE.files if key.endswith(": digest")]
SLOW = ("101", "152", "154", "201")


def ours(row):
    """Scheme, network, and what has to be said of it."""
    project, name = row.split()
    scheme = {"torchvision": "timm", "cadene": "caffe"}.get(project, project)
    if name.startswith("legacy_"):
        scheme, name = "caffe", name.removeprefix("legacy_")
    name = name.replace("seres", "se_res")
    # Anti-aliased networks have the arrays of others.
    options = dict(network=name) if "aa101" in name else {}
    return schemes.SCHEMES[scheme], name, options


def foreign_arrays(scheme, name):
    """Generated arrays under the names of a scheme, without PyTorch."""
    variant = dict(caffe="caffe", timm="torch", moskomule="torch")[scheme.name]
    fields = dict(se_bias=False, se_divisor=1) if scheme.name == "moskomule" else {}
    with shapes_only():
        model = senet.create(name, classes=generated.CLASSES, variant=variant, **fields)
    found = {slot.name: slot.shape for slot in schemes.slots(model, scheme, model.card.spec)}
    return {key: generated.values(key, shape) for key, shape in found.items()}


def difference(model, row, size):
    """Greatest difference of logits and of maps, in units of the greatest value."""
    taps = [model.get_layer(last) for last in last_of_stages(model)]
    whole = keras.Model(model.input, [model.output, *(tap.output for tap in taps)])
    logits, *maps = outputs(whole, generated.images(size))
    expected = REFERENCE[f"{row}: {size} logits"]
    between_maps = [
        abs(generated.sample(found) - wanted).max() / abs(wanted).max()
        for found, wanted in zip(maps, REFERENCE[f"{row}: {size} maps"], strict=True)
    ]
    return max(abs(logits - expected).max() / abs(expected).max(), *between_maps)


def last_of_stages(model):
    names = [layer.name for layer in model.layers]
    return [[n for n in names if n.startswith(f"stage{i}_")][-1] for i in (1, 2, 3, 4)]


def marked(row):
    slow = any(depth in row for depth in SLOW)
    return pytest.param(row, marks=pytest.mark.slow) if slow else row


@pytest.mark.parametrize("row", [marked(row) for row in ROWS])
def test_a_foreign_file_gives_the_logits_of_its_own_implementation(row, tmp_path):
    scheme, name, options = ours(row)
    arrays = foreign_arrays(scheme, name)
    shapes = {key: array.shape for key, array in arrays.items()}
    assert generated.digest(shapes) == REFERENCE[f"{row}: digest"]
    save_file(arrays, tmp_path / "theirs.safetensors")
    open_sides = dict(input_shape=(None, None, 3), classifier_activation=None)
    model = senet.load(tmp_path / "theirs.safetensors", **open_sides, **options)
    assert model.name == name
    sizes = [size for size in generated.SIZES if f"{row}: {size} logits" in REFERENCE.files]
    assert sizes[0] == 224
    assert len(sizes) == (2 if row.startswith("cadene") else 3)
    for size in sizes:
        logits = REFERENCE[f"{row}: {size} logits"]
        assert np.ptp(logits, axis=0).max() > 0.1 * abs(logits).max()  # images differ
        found = difference(model, row, size)
        print(f"{row:<36}{size:>5}{found:>10.1e}")
        assert found < WITHIN


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("timm seresnet50", dict(strided="reduce")),
        ("timm seresnet18", dict(stem_pool="ceil")),
        ("timm seresnet18", dict(norm_epsilon=1e-3)),
        ("timm seresnet18", dict(last_relu=True)),
        ("timm seresnext26d_32x4d", dict(stem_pool="average")),
        ("timm legacy_seresnet18", dict(last_relu=False)),
        ("timm legacy_seresnet18", dict(stem_pool="padded")),
        ("timm legacy_seresnet50", dict(strided="3x3")),
        ("timm legacy_seresnext26_32x4d", dict(strided="reduce")),
        ("timm seresnet18", dict(placement="identity")),
        ("timm seresnet18", dict(squeeze="max")),
        # Whose arrays are those of the network without anti-aliasing, if nobody says more.
        pytest.param("timm seresnextaa101d_32x8d", {}, marks=pytest.mark.slow),
    ],
)
def test_one_switch_in_the_wrong_position_is_seen(row, wrong, tmp_path):
    scheme, name, _ = ours(row)
    save_file(foreign_arrays(scheme, name), tmp_path / "theirs.safetensors")
    options = dict(input_shape=(None, None, 3), classifier_activation=None)
    model = senet.load(tmp_path / "theirs.safetensors", **options, **wrong)
    for size in (224, 225):
        assert difference(model, row, size) > 100 * WITHIN


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("timm seresnet18", dict(se_divisor=1)),
        ("timm legacy_seresnet18", dict(se_divisor=8)),
        ("timm seresnext26d_32x4d", dict(projection="1x1")),
        ("timm legacy_seresnet18", dict(se_bias=False)),
    ],
)
def test_one_switch_that_changes_the_arrays_is_refused(row, wrong, tmp_path):
    scheme, name, _ = ours(row)
    save_file(foreign_arrays(scheme, name), tmp_path / "theirs.safetensors")
    with pytest.raises(senet.WeightsError):
        senet.load(tmp_path / "theirs.safetensors", **wrong)
