import dataclasses
import hashlib
import json
import shutil

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import senet
from senet.models import family
from senet.models.complexity import shapes_only
from senet.models.spec import Spec
from senet.prediction.trained import load_trained
from senet.weights import catalogue, imagenet, schemes, transfer
from tests.conftest import outputs
from tests.weights import generated, written

TINY = dict(n_blocks=(1, 1, 1, 1), n_filters=(32, 64, 128, 256), input_shape=(64, 64, 3))
IMAGES = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")


def tiny(network="se_resnet50", variant="torch", classes=5, **fields):
    """A small network with values that are all different from their start."""
    model = senet.create(network, variant=variant, classes=classes, **TINY | fields)
    generated.fill(model)
    return model


def same_values(first, second):
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def theirs(tmp_path):
    """A small network, and its file with timm's names."""
    model = tiny()
    senet.save(model, tmp_path / "theirs.safetensors", names="timm")
    return model, tmp_path / "theirs.safetensors"


CASES = {
    "timm": dict(),
    "timm with basic blocks": dict(network="se_resnet18", n_filters=(64, 128, 256, 512)),
    "timm ResNeXt": dict(network="se_resnext50_32x4d", n_filters=(64, 128, 256, 512)),
    "timm SENet-154": dict(network="senet154", n_filters=(64, 128, 256, 512)),
    "timm with deep stem and average shortcut": dict(network="se_resnext26t_32x4d"),
    "timm ResNet": dict(network="resnet50"),
    "timm at ratio 16 of another width": dict(n_filters=(64, 64, 64, 64)),
    "caffe": dict(variant="caffe"),
    "caffe with basic blocks": dict(network="se_resnet18", variant="caffe", last_relu=True),
    "caffe ResNeXt": dict(network="se_resnext50_32x4d", variant="caffe"),
    "caffe SENet-154": dict(network="senet154", variant="caffe"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_under_foreign_names_is_read_back_as_the_same_network(tmp_path, case):
    names = case.split()[0]
    model = tiny(**CASES[case])
    senet.save(model, tmp_path / "a.safetensors", names=names)
    again = senet.load(tmp_path / "a.safetensors", input_shape=(64, 64, 3))
    assert same_values(model, again)
    np.testing.assert_array_equal(outputs(model, IMAGES), outputs(again, IMAGES))
    irrelevant = {name: getattr(model.card.spec, name) for name in transfer.TRAINING_ONLY}
    irrelevant |= dict(se_divisor=model.card.spec.se_divisor)
    if model.card.spec.residual == "basic":
        irrelevant |= dict(strided=model.card.spec.strided)
    assert dataclasses.replace(again.card.spec, **irrelevant) == model.card.spec
    senet.save(again, tmp_path / "b.safetensors", names=names)
    first, second = (load_file(tmp_path / f"{letter}.safetensors") for letter in "ab")
    assert list(first) == list(second)
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_an_excitation_without_biases_is_written_with_zeros(tmp_path):
    model = tiny("se_resnext50_32x4d", "seed")
    senet.save(model, tmp_path / "a.safetensors", names="timm")
    arrays = load_file(tmp_path / "a.safetensors")
    biases = [array for name, array in arrays.items() if ".se." in name and name.endswith("bias")]
    assert len(biases) == 8
    assert not any(array.any() for array in biases)
    again = senet.load(tmp_path / "a.safetensors", input_shape=(64, 64, 3))
    result = outputs(again, IMAGES)
    np.testing.assert_allclose(outputs(model, IMAGES), result, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("names", "options", "reason"),
    [
        ("timm", dict(variant="seed"), "strided is 'reduce' here and '3x3' there"),
        ("timm", dict(variant="caffe"), "stem_pool is 'ceil' here and 'padded' there"),
        ("caffe", dict(variant="torch"), "strided is '3x3' here and 'reduce' there"),
        ("caffe", dict(variant="seed"), "stem_pool is 'padded' here and 'ceil' there"),
        ("caffe", dict(network="se_resnet18", variant="caffe"), "last_relu is False here"),
        ("timm", dict(excitation="tanh"), "excitation is 'tanh' here"),
        ("timm", dict(placement="pre"), "placement is 'pre' here"),
        ("timm", dict(squeeze="max"), "squeeze is 'max' here"),
        ("timm", dict(norm_epsilon=1e-3), "norm_epsilon is 0.001 here"),
        ("timm", dict(ratio=8), "excitation is .16, 32, 64, 128. wide here"),
        (
            "timm",
            dict(network="se_resnet18", variant="seed", n_filters=(64, 128, 256, 512)),
            "excitation is .4, 8, 16, 32. wide here and .8, 8, 16, 32. there",
        ),
        (
            "timm",
            dict(se_at=("stage1",)),
            "se_at is ('stage1',) here and None there".replace("(", ".").replace(")", "."),
        ),
    ],
)
def test_what_a_scheme_would_compute_otherwise_is_refused_with_the_reason(
    tmp_path, names, options, reason
):
    with pytest.raises(ValueError, match=reason):
        senet.save(tiny(**options), tmp_path / "a.safetensors", names=names)
    assert list(tmp_path.iterdir()) == []


def test_networks_for_small_images_are_in_no_scheme(tmp_path):
    model = senet.create("resnet20_cifar", classes=4)
    with pytest.raises(ValueError, match="timm has no network that is built as resnet20_cifar"):
        senet.save(model, tmp_path / "a.safetensors", names="timm")


def test_our_own_names_keep_everything(tmp_path):
    model = tiny(variant="seed", excitation="tanh", placement="3x3", stochastic_depth=0.1)
    senet.save(model, tmp_path / "a.safetensors", class_names=tuple("abcde"))
    again = senet.load(tmp_path / "a.safetensors")
    assert same_values(model, again)
    assert again.card.spec == model.card.spec
    assert again.card.class_names == tuple("abcde")
    assert "stage1_block1_3x3_conv.kernel" in load_file(tmp_path / "a.safetensors")


def test_the_arguments_of_load_replace_what_the_file_says(theirs):
    model, path = theirs
    again = senet.load(path, input_shape=(64, 64, 3), strided="reduce", stochastic_depth=0.2)
    assert (again.card.spec.strided, again.card.spec.stochastic_depth) == ("reduce", 0.2)
    assert same_values(model, again)
    assert not np.allclose(outputs(model, IMAGES), outputs(again, IMAGES))
    trunk = senet.load(path, input_shape=(64, 64, 3), include_top=False, pooling="avg")
    assert trunk.output_shape == (None, 1024)
    maps = senet.load(path, input_shape=(64, 64, 3), features=(4, 32))
    assert [m.shape[1] for m in maps.outputs] == [16, 2]


@pytest.mark.parametrize("features", [(4, 8), (2, 32), (32,)])
def test_maps_come_from_the_file_of_the_whole_network(theirs, features):
    model, path = theirs
    last = {2: "stem_relu", 4: "stage1_block1_relu", 8: "stage2_block1_relu"}
    wanted = [model.get_layer(last.get(s, "stage4_block1_relu")).output for s in features]
    wanted = outputs(keras.Model(model.input, wanted), IMAGES)
    maps = senet.create("se_resnet50", weights=path, features=features, **TINY)
    for one, other in zip(outputs(maps, IMAGES), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_file_of_feature_maps_gives_those_and_no_others(tmp_path):
    model = senet.create("se_resnet50", features=(4, 8), **TINY)
    generated.fill(model)
    path = tmp_path / "maps.keras"
    senet.save(model, path)
    assert same_values(model, senet.load(path))
    first = senet.load(path, features=(4,))
    maps, wanted = outputs(first, IMAGES), outputs(model, IMAGES)
    np.testing.assert_allclose(maps, wanted[0], rtol=1e-5, atol=1e-5)
    with pytest.raises(senet.WeightsError, match="missing from the file"):
        senet.load(path, features=(4, 8, 16))
    with pytest.raises(senet.WeightsError, match="missing from the file"):
        senet.load(path, classes=3)


@pytest.mark.parametrize("ending", [".safetensors", ".keras", ".weights.h5"])
def test_layers_of_the_user_may_stand_before_a_network_with_weights(tmp_path, ending):
    model, path = tiny(), tmp_path / f"a{ending}"
    if ending == ".weights.h5":
        model.save_weights(path)
    else:
        senet.save(model, path, names="timm" if ending == ".safetensors" else None)
    image = keras.Input((64, 64, 1))
    coloured = keras.layers.Conv2D(3, 1, kernel_initializer="ones")(image)
    options = dict(input_tensor=coloured, classes=5) | {
        k: v for k, v in TINY.items() if k != "input_shape"
    }
    behind = senet.create("se_resnet50", weights=path, variant="torch", **options)
    found = outputs(behind, IMAGES[..., :1])
    np.testing.assert_allclose(
        found, outputs(model, IMAGES[..., :1].repeat(3, -1)), rtol=1e-4, atol=1e-6
    )
    assert not hasattr(behind, "card")
    if ending != ".weights.h5":
        again = senet.load(path, input_tensor=coloured)
        np.testing.assert_array_equal(outputs(again, IMAGES[..., :1]), found)


def test_load_refuses_a_file_that_does_not_hold_the_network_that_was_named(theirs):
    with pytest.raises(senet.WeightsError, match=r"it holds se_resnet50, not resnet50: .*ratio 16"):
        senet.load(theirs[1], network="resnet50")


def test_the_variant_named_to_load_is_compared_and_other_fields_are_kept(tmp_path):
    model = tiny(network="se_resnet50", ratio=8, stem="deep", stem_filters=(8, 8, 16))
    senet.save(model, tmp_path / "a.safetensors")
    assert same_values(model, senet.load(tmp_path / "a.safetensors", variant="torch"))
    with pytest.raises(senet.WeightsError, match=r"does not follow the variant 'caffe'"):
        senet.load(tmp_path / "a.safetensors", variant="caffe")


def test_which_of_several_sets_of_weights_was_taken_is_said(tmp_path):
    arrays = {}
    model = tiny()
    senet.save(model, tmp_path / "a.safetensors", names="timm")
    arrays = load_file(tmp_path / "a.safetensors")
    made, storages = written.state(arrays)
    path = written.torch_zip(tmp_path / "a.pth", {"state_dict_ema": made}, storages)
    with pytest.warns(
        UserWarning, match=r"a\.pth': used the averaged weights under 'state_dict_ema'\."
    ):
        again = senet.load(path, input_shape=(64, 64, 3))
    assert same_values(model, again)


@pytest.mark.parametrize(
    "kind", ["saved by Keras 3", "weights of Keras 2", "of older ones", "bare"]
)
def test_the_older_files_of_keras_are_called_what_they_are(tmp_path, kind):
    import h5py

    path = tmp_path / "a.h5"
    if kind == "saved by Keras 3":
        tiny().save(path)
    else:
        with h5py.File(path, "w") as file:
            if kind == "weights of Keras 2":
                file.attrs["layer_names"] = [b"conv1"]
                file["conv1/conv1/kernel"] = np.zeros((3, 3), "float32")
            else:
                group = "model_weights/" if kind == "of older ones" else ""
                file[f"{group}conv1/conv1/kernel:0"] = np.zeros((3, 3), "float32")
    for options in ({}, dict(network="se_resnet50")):
        with pytest.raises(senet.WeightsError, match=r"an \.h5 file of Keras' older format"):
            senet.load(path, **options)


def test_a_copy_of_published_weights_brings_names_and_preprocessing(tmp_path, monkeypatch):
    model = senet.create("se_resnet18", variant="caffe", last_relu=True, input_shape=(64, 64, 3))
    generated.fill(model)
    path = tmp_path / "seresnet18.safetensors"
    senet.save(model, path, names="caffe")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    row = dataclasses.replace(catalogue.published("se_resnet18", "legacy_in1k"), sha256=found)
    monkeypatch.setattr(catalogue, "ROWS", (row,))
    again = senet.load(path, weights="legacy_in1k")
    assert again.card.class_names == imagenet.class_names()
    assert again.card.preprocessing == row.preprocessing()
    assert again.input_shape == (None, 224, 224, 3)
    assert senet.load(path).card.class_names is None
    trained = load_trained(path, "legacy_in1k")
    assert trained.preprocessing.interpolation == "bicubic"
    senet.save(again, tmp_path / "whole.keras")
    assert load_trained(tmp_path / "whole.keras").class_names == imagenet.class_names()
    with pytest.raises(ValueError, match="no weights 'a1_in1k' for se_resnet18"):
        senet.load(path, weights="a1_in1k")
    monkeypatch.setattr(catalogue, "ROWS", (dataclasses.replace(row, sha256="00"),))
    with pytest.raises(senet.WeightsError, match="its SHA-256 is"):
        senet.load(path, weights="legacy_in1k")


def test_the_lines_for_timm_name_only_networks_that_it_has(tmp_path):
    known = [
        (senet.create(name, input_shape=(32, 32, 3), classes=2, **fields).card, names)
        for name, names, fields in (
            ("se_resnet18", "timm", dict(variant="torch")),
            ("se_resnext26_32x4d", "caffe", dict(variant="caffe")),
            ("se_resnext26_32x4d", "timm", {}),
            ("se_resnet10", "timm", {}),
            ("se_resnet18", "timm", dict(ratio=8)),
            ("se_resnet18", "timm", dict(include_top=False)),
        )
    ]
    advice = [senet.applications.how_to_load(card, "a", names) for card, names in known]
    assert "'seresnet18', num_classes=2" in advice[0]
    assert "'legacy_seresnext26_32x4d'" in advice[1]
    assert advice[2:] == [""] * 4


def test_constructors_take_the_variant_of_the_file(theirs):
    model, path = theirs
    again = senet.SEResNet50(weights=path, classes=5, **TINY)
    assert again.card.spec.strided == "3x3"
    assert same_values(model, again)
    assert same_values(model, senet.SEResNet50(weights=path, classes=5, variant="torch", **TINY))
    with pytest.raises(senet.WeightsError, match=r"does not follow the variant 'caffe'.*strided"):
        senet.SEResNet50(weights=path, classes=5, variant="caffe", **TINY)
    with pytest.raises(senet.WeightsError, match="does not follow the variant 'seed'"):
        senet.SEResNet50(weights=path, classes=5, variant="seed", **TINY)


@pytest.mark.parametrize("kind", ["timm", "own", "keras", "hdf5"])
def test_another_number_of_classes_loads_all_but_the_classifier_and_says_so(tmp_path, kind):
    model = tiny()
    path = tmp_path / {"keras": "a.keras", "hdf5": "a.weights.h5"}.get(kind, "a.safetensors")
    if kind == "hdf5":
        model.save_weights(path)
    else:
        senet.save(model, path, names="timm" if kind == "timm" else None)
    network = dict(network="se_resnet50", variant="torch") if kind == "hdf5" else {}
    with pytest.warns(UserWarning, match=r"a classifier of 5, and .* one of 7 classes"):
        again = senet.load(path, classes=7, **TINY | network)
    for layer in model.layers[:-1]:
        for old, new in zip(
            layer.get_weights(), again.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(old, new)
    assert again.output_shape == (None, 7)
    assert again.card.class_names is None
    trunk = senet.load(path, include_top=False, **TINY | network)
    np.testing.assert_array_equal(
        trunk.get_layer("stage4_block1_expand_conv").get_weights()[0],
        model.get_layer("stage4_block1_expand_conv").get_weights()[0],
    )


def test_a_file_without_classifier_gives_features_or_a_new_classifier(tmp_path, theirs):
    _, path = theirs
    arrays = {k: v for k, v in load_file(path).items() if not k.startswith("fc.")}
    save_file(arrays, path)
    assert senet.load(path, input_shape=(64, 64, 3)).output_shape == (None, 2, 2, 1024)
    with pytest.raises(senet.WeightsError, match=r"no classifier\. Pass include_top=False"):
        senet.create("se_resnet50", weights=path, **TINY)
    for make in (senet.create, lambda _, weights, **options: senet.load(weights, **options)):
        with pytest.warns(UserWarning, match="has no classifier"):
            model = make("se_resnet50", weights=path, classes=3, **TINY)
        assert model.output_shape == (None, 3)


def test_every_array_that_does_not_fit_is_listed_and_nothing_is_loaded(theirs):
    path = theirs[1]
    arrays = load_file(path)
    del arrays["layer2.0.bn1.bias"]
    arrays["layer3.0.conv2.weight"] = arrays["layer3.0.conv2.weight"][:, :, :1, :1].copy()
    arrays["extra.weight"] = np.zeros(3, "float32")
    arrays["bn1.running_mean"] = arrays["bn1.running_mean"].astype("int32")
    arrays["bn1.num_batches_tracked"] = np.array(7)
    save_file(arrays, path)
    other = tiny()
    before = other.get_weights()
    with pytest.raises(senet.WeightsError) as caught, transfer.source(path) as source:
        source.fill(other, other.card.spec)
    message = str(caught.value)
    assert "1 of another shape:\n  layer3.0.conv2.weight: 128 x 128 x 1 x 1 in the file" in message
    assert "1 missing from the file:\n  layer2.0.bn1.bias" in message
    assert "1 in the file and not in the network:\n  extra.weight" in message
    assert "1 not of floating point:\n  bn1.running_mean" in message
    assert "num_batches_tracked" not in message
    for old, new in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_file_of_another_network_is_refused_by_its_name(tmp_path):
    senet.save(tiny(), tmp_path / "a.safetensors", names="timm")
    options = TINY | dict(classes=5)
    with pytest.raises(senet.WeightsError, match=r"it holds .*, not se_resnext50_32x4d"):
        senet.create("se_resnext50_32x4d", weights=tmp_path / "a.safetensors", **options)
    with pytest.raises(senet.WeightsError, match=r"not resnet50 .*ratio 16 and not None"):
        senet.create("resnet50", weights=tmp_path / "a.safetensors", **options)
    del options["n_blocks"]
    with pytest.raises(senet.WeightsError, match=r"n_blocks \(1, 1, 1, 1\) and not \(3, 4, 6, 3\)"):
        senet.create("se_resnet50", weights=tmp_path / "a.safetensors", **options)


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -1])
def test_a_truncated_file_is_refused(theirs, keep):
    path = theirs[1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(senet.WeightsError, match=r"theirs\.safetensors"):
        senet.load(path)


def test_names_of_no_known_scheme_are_shown(tmp_path):
    save_file({"blocks.0.attn.weight": np.zeros((2, 2), "float32")}, tmp_path / "vit.safetensors")
    with pytest.raises(
        senet.WeightsError, match=r"follows a scheme that senet knows.*blocks\.0\.attn"
    ):
        senet.load(tmp_path / "vit.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer1.0.conv1.weight": (16, 64, 1, 1)}, "missing from the file|belong together"),
        ({"layer4.0.conv3.weight": (400_000, 1, 1, 1)}, "do not belong together"),
        ({"layer1.0.conv2.weight": (0, 32, 3, 3)}, "is empty"),
        ({"layer4.0.conv3.weight": (4,)}, "should be a convolution"),
        ({"layer9.0.conv1.weight": (4, 4, 1, 1)}, "numbered"),
        ({"layer1.0.conv2.weight": (3, 3, 3, 3)}, r"\w"),
    ],
)
def test_shapes_that_no_network_has_are_refused_before_anything_is_built(
    theirs, monkeypatch, changes, message
):
    path = theirs[1]
    arrays = load_file(path)
    arrays |= {name: np.zeros(shape, "float32") for name, shape in changes.items()}
    save_file(arrays, path)
    with pytest.raises(ValueError, match=message):
        senet.load(path)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_are_converted(theirs, dtype):
    model, path = theirs
    save_file({key: value.astype(dtype) for key, value in load_file(path).items()}, path)
    again = senet.load(path)
    for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old.astype(dtype).astype("float32"), new)


def test_weights_h5_needs_its_network_named(tmp_path):
    model = tiny()
    model.save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(senet.WeightsError, match="does not say what network it holds"):
        senet.load(tmp_path / "a.weights.h5")
    said = dict(network="se_resnet50", variant="torch", classes=5)
    assert same_values(model, senet.load(tmp_path / "a.weights.h5", **said, **TINY))


def test_names_in_hdf5_are_those_that_keras_gives(tmp_path):
    """Keras numbers the layers of each class; should it change, this is the test that says so."""
    import h5py

    model = tiny("se_resnet18", "caffe", last_relu=True, stochastic_depth=0.2)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.train_on_batch(IMAGES, np.eye(5)[:2])
    model.save_weights(tmp_path / "a.weights.h5")
    slots = {slot.name: slot for slot in schemes.own_slots(model, hdf5=True)}
    found = {}
    with h5py.File(tmp_path / "a.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: np.array(item)}) if isinstance(item, h5py.Dataset) else None
            )
        )
    layers = {name for name in found if name.startswith("layers/") and "seed" not in name}
    assert layers == set(slots)
    for name in layers:
        value = keras.ops.convert_to_numpy(slots[name].variable)
        np.testing.assert_array_equal(found[name], value)


def test_a_network_trained_and_compiled_in_keras_loads(tmp_path):
    model = tiny(stochastic_depth=0.2, dropout=0.1)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(IMAGES, np.eye(5)[:2], verbose=0)
    model.save(tmp_path / "a.keras")
    said = dict(network="se_resnet50", variant="torch", classes=5)
    assert same_values(model, senet.load(tmp_path / "a.keras", **said, **TINY))


def test_weights_of_grey_images_keep_their_channels(tmp_path):
    model = senet.create("se_resnet50", variant="torch", **TINY | dict(input_shape=(64, 64, 1)))
    senet.save(model, tmp_path / "grey.safetensors", names="timm")
    assert senet.load(tmp_path / "grey.safetensors").input_shape == (None, 224, 224, 1)


def test_a_failed_write_leaves_the_older_file(theirs, monkeypatch):
    import safetensors.numpy

    model, path = theirs
    before = path.read_bytes()

    def half(arrays, written, about):
        shutil.copy(path, written)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", half)
    with pytest.raises(OSError, match="No space left"):
        senet.save(model, path, names="timm")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_card_in_safetensors_that_says_nonsense_is_refused(tmp_path):
    model = tiny()
    senet.save(model, tmp_path / "a.safetensors")
    arrays = load_file(tmp_path / "a.safetensors")
    for card in ("{}", "[]", "{", json.dumps(model.card.to_json() | dict(spec={"ratio": "x"}))):
        save_file(arrays, tmp_path / "b.safetensors", {"senet.json": card})
        with pytest.raises(senet.WeightsError, match=r"b\.safetensors"):
            senet.load(tmp_path / "b.safetensors")


def test_generated_values_are_those_of_their_names():
    first = generated.values("layer1.0.conv1.weight", (8, 4, 1, 1))
    np.testing.assert_array_equal(first, generated.values("layer1.0.conv1.weight", (8, 4, 1, 1)))
    assert not np.array_equal(first, generated.values("layer1.0.conv2.weight", (8, 4, 1, 1)))


def test_unknown_names_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="names must be None for ours, or one of 'timm', 'caffe'"):
        senet.save(tiny(), tmp_path / "a.safetensors", names="torchvision")


def test_names_belong_to_safetensors(tmp_path):
    model = senet.create("se_resnet18", variant="torch", input_shape=(32, 32, 3), classes=4)
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        senet.save(model, tmp_path / "a.keras", names="timm")
    assert list(tmp_path.iterdir()) == []


def test_a_card_of_a_size_that_no_network_has_is_not_read(tmp_path, monkeypatch):
    senet.save(
        senet.create("se_resnet20_cifar", input_shape=(32, 32, 3), classes=4), tmp_path / "a.keras"
    )
    monkeypatch.setattr(transfer, "CARD_LIMIT", 100)
    with pytest.raises(senet.WeightsError, match=r"'senet\.json' in it is larger"):
        senet.load(tmp_path / "a.keras")


def test_every_field_of_a_spec_is_compared_or_free():
    free = {"placement", "se_at", "squeeze", "excitation", "norm_epsilon"}
    groups = [set(family.STRUCTURE), set(family.VARIED), set(transfer.TRAINING_ONLY), free]
    assert set.union(*groups) == {field.name for field in dataclasses.fields(Spec)}
    assert sum(map(len, groups)) == len(dataclasses.fields(Spec))


@pytest.mark.parametrize(
    ("saved", "wanted", "field"),
    [
        (dict(antialias=True), {}, "antialias"),
        (
            dict(stem="deep", stem_filters=(8, 8, 64)),
            dict(stem="deep", stem_filters=(8, 16, 64)),
            "stem_filters",
        ),
        (dict(network="se_resnet18", last_relu=True), dict(variant="torch"), "last_relu"),
        (dict(se_divisor=8), dict(variant="caffe"), "se_divisor"),
    ],
)
def test_a_file_of_another_structure_or_variant_is_refused(tmp_path, saved, wanted, field):
    tiny = dict(input_shape=(32, 32, 3), classes=2, n_filters=(64, 64, 64, 64))
    network = saved.get("network", "se_resnet50")
    senet.save(
        senet.create(**dict(network=network, variant="caffe", **tiny) | saved), tmp_path / "a.keras"
    )
    with pytest.raises(senet.WeightsError, match=field):
        senet.create(network, weights=tmp_path / "a.keras", **tiny | wanted)


def test_an_anti_aliased_network_is_read_as_such_where_it_is_named():
    name = "se_resnextaa101d_32x8d"
    with shapes_only():
        model = senet.create(name, variant="torch", classes=2, input_shape=(32, 32, 3))
    slots = schemes.slots(model, schemes.SCHEMES["timm"], model.card.spec)
    shapes = {slot.name: slot.shape for slot in slots}
    _, found, spec, *_ = schemes.describe(shapes, name)
    assert (found, spec.antialias, spec.stem_pool) == (name, True, "average")
    _, found, spec, *_ = schemes.describe(shapes)
    assert (found, spec.antialias, spec.stem_pool) == ("se_resnext101d_32x8d", False, "padded")
