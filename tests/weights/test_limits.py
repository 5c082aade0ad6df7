"""A card, a shape or a description is believed only as far as the arrays beside it go."""

import json
import struct
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import senet
from senet.models import family
from senet.models.complexity import shapes_only
from senet.models.spec import Spec
from senet.weights.card import MEMBER
from senet.weights.descriptions import at_most, build_described
from tests.weights import written

TINY = dict(n_blocks=(1, 1), n_filters=(8, 8), ratio=4, stem_filters=(8,), input_shape=(32, 32, 3))


def tiny(**fields):
    return senet.create("se_resnet18", classes=4, **TINY | fields)


# The least that a network needs, computed of its numbers


@pytest.mark.parametrize("network", senet.list_models())
def test_the_least_values_are_most_of_the_network_and_never_more(network):
    spec = family.named_spec(network)
    with shapes_only():
        model = senet.create(network, classes=10)
    shapes = [tuple(v.shape) for v in model.weights]
    values = sum(int(np.prod(shape)) for shape in shapes)
    least = family.least_values(spec, 3, 10)
    assert 0.9 * values < least <= values
    assert family.is_held(spec, 3, 10, (len(shapes), values))
    assert not family.is_held(spec, 3, 10, (2 * sum(spec.n_blocks), values))
    assert not family.is_held(spec, 3, 10, (len(shapes), values // 5))
    assert not family.is_held(spec, 3, 10**9, (len(shapes), values))


SHAPES = {
    "pre-activation": dict(preactivation=True),
    "narrow groups": dict(cardinality=4, base_width=8),
    "reduced": dict(cardinality=4, base_width=32, reduce_divisor=2, projection="3x3"),
    "se before": dict(placement="pre", ratio=1),
    "deep stem": dict(stem="deep", stem_filters=(4, 4, 8)),
    "averages": dict(antialias=True, projection="average", stem_pool="average"),
    "dilated": dict(output_stride=8),
    "some blocks": dict(se_at=("stage2",)),
}


@pytest.mark.parametrize("case", SHAPES)
def test_the_least_values_of_other_shapes_are_never_more(case):
    fields = dict(n_blocks=(2, 1, 1, 1), n_filters=(16, 32, 32, 48)) | SHAPES[case]
    spec = Spec(**fields)
    with shapes_only():
        model = senet.create("se_resnet50", classes=7, input_shape=(64, 64, 5), **vars(spec))
    values = model.count_params()
    assert 0.75 * values < family.least_values(spec, 5, 7) <= values
    assert family.is_held(spec, 5, 7, (len(model.weights), values))


# Feature maps build no more than they need


@pytest.mark.parametrize("network", ["se_resnet50", "se_resnet18", "se_preresnet110_cifar"])
def test_feature_maps_are_those_of_the_whole_network(network):
    fields = dict(stochastic_depth=0.3, se_at=("stage1", "stage3_block1"))
    whole = senet.create(network, include_top=False, input_shape=(64, 64, 3), **fields)
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    strides = [s for s in (1, 2, 4, 8) if s != 8 or "cifar" not in network]
    strides = strides[:-1] if "cifar" in network else strides[1:]
    for stride in strides:
        part = senet.create(network, features=(stride,), input_shape=(64, 64, 3), **fields)
        names = {layer.name for layer in whole.layers}
        assert {layer.name for layer in part.layers} <= names
        assert len(part.layers) < len(whole.layers)
        for layer in part.layers:
            twin = whole.get_layer(layer.name)
            twin.set_weights(layer.get_weights())
            rates = [one.get_config().get("rate", 0) for one in (layer, twin)]
            assert rates[0] == pytest.approx(rates[1])
        last = whole.get_layer(part.layers[-1].name).output
        expected = keras.Model(whole.inputs, last).predict_on_batch(images)
        np.testing.assert_allclose(part.predict_on_batch(images), expected, atol=1e-5)


def test_strides_that_a_network_has_not_are_named():
    with pytest.raises(ValueError, match=r"strides of this network, 2, 4, 8, 16, 32; got 3"):
        senet.create("se_resnet50", features=(3,))
    with pytest.raises(ValueError, match=r"strides of this network, 1, 2, 4; got 8"):
        senet.create("se_resnet20_cifar", features=(1, 8))


# Small files that ask for much


def card_file(path, changes, spec=None):
    """A small file of our own whose card says something else."""
    model = tiny()
    senet.save(model, path.with_suffix(".safetensors"))
    card = model.card.to_json()
    card["spec"] |= spec or {}
    arrays = dict(list(load_file(path.with_suffix(".safetensors")).items())[:8])
    if path.suffix == ".safetensors":
        save_file(arrays, path, {MEMBER: json.dumps(card | changes)})
        return path
    path.with_suffix(".safetensors").unlink()
    small = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    small.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, json.dumps(card | changes))
    return path


CARDS = {
    "two million classes": (dict(classes=2_000_000), {}),
    "two billion classes": (dict(classes=2_000_000_000), {}),
    "classes beyond counting": (dict(classes=10**300), {}),
    "classes without classifier": (dict(classes=None, features=[4]), dict(n_filters=[10**6, 8])),
    "a million filters": ({}, dict(n_filters=[8, 1_000_000])),
    "a million filters of the stem": ({}, dict(stem_filters=[1_000_000])),
    "a million channels": (dict(input_shape=[32, 32, 1_000_000]), {}),
    "60000 channels": (dict(input_shape=[32, 32, 60_000]), dict(stem_filters=[60_000])),
    "thousands of blocks": ({}, dict(n_blocks=[3000, 3000])),
    "billions of blocks": ({}, dict(n_blocks=[10**9, 10**12])),
    "thousands of groups": ({}, dict(n_blocks=[1] * 9000, n_filters=[1] * 9000)),
    "wide groups": (
        {},
        dict(residual="bottleneck", cardinality=64, base_width=10**6, strided="3x3"),
    ),
    "a huge image": (dict(input_shape=[10**9, 10**9, 3]), {}),
    "only the stem": (dict(classes=None, features=[2]), dict(stem_filters=[10**6])),
    "groups behind those that are there": (
        dict(classes=None, features=[2]),
        dict(n_filters=[10**6, 10**6], n_blocks=[500, 500]),
    ),
}


def graph_file(path, change):
    """A file whose network is built as Keras described it, with another description."""
    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(4, 3, name="conv")(x)
    y = keras.layers.GlobalAveragePooling2D(name="pool")(y)
    model = keras.Model(x, keras.layers.Dense(4, activation="softmax", name="dense")(y))
    senet.save(model, path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(contents["config.json"])
    change({layer["name"]: layer for layer in config["config"]["layers"]}, config)
    contents["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def units(number):
    def change(named, config):
        named["dense"]["config"]["units"] = number
        named["dense"].pop("build_config", None)

    return change


def filters(named, config):
    named["conv"]["config"]["filters"] = 10**6
    named["conv"]["build_config"]["input_shape"] = [None, 8, 8, 3000]


def side(named, config):
    first = config["config"]["layers"][0]
    first["config"]["batch_shape"] = [None, 10**6, 10**6, 10**6]
    for layer in named.values():
        layer.pop("build_config", None)


def chain(named, config):
    """Keras builds a chain again for each layer that is added to it."""
    config["class_name"], config["module"] = "Sequential", "keras"
    first = dict(config["config"]["layers"][0])
    relu = dict(module="keras.layers", class_name="ReLU", registered_name=None)
    layers = [dict(relu, config=dict(name=f"r{i}")) for i in range(900)]
    config["config"] = dict(name="chain", layers=[first, *layers])


def many(named, config):
    relu = dict(named["pool"], class_name="Activation", inbound_nodes=[])
    config["config"]["layers"] += [
        dict(relu, name=f"a{i}", config=dict(name=f"a{i}", activation="relu")) for i in range(9000)
    ]


GRAPHS = {
    "two million units": units(2_000_000),
    "two billion units": units(2_000_000_000),
    "a million filters": filters,
    "a huge image": side,
    "many layers": many,
    "a chain": chain,
}


def unwritten_file(path, spec=None):
    """Data sets that nothing was written to cost no bytes, and count little."""
    import h5py

    graph_file(path, units(200_000) if spec is None else many)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for i in range(30):
            file.create_dataset(f"layers/x{i}/vars/0", (2**20,), "u1", chunks=(2**20,))
    contents["model.weights.h5"] = path.with_suffix(".h5").read_bytes()
    if spec is not None:
        card = tiny().card.to_json()
        card["spec"] |= spec
        contents[MEMBER] = json.dumps(card).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def shared_file(path):
    """Many tensors of one storage, each of which could be an array of the network."""
    block = {"conv1.weight": (8, 3, 7, 7), "layer1.0.bn1.running_mean": (8,)}
    block |= {f"layer1.0.conv{i}.weight": (n, 8, 3, 3) for i, n in ((1, 8), (2, 9000))}
    made, storages = written.state({n: np.zeros(s, "float16") for n, s in block.items()})
    wide = written.tensor(written.storage("Bool", "wide", 16_000), (16_000,))
    made |= {f"layer1.0.x{i}": wide for i in range(80)}
    return written.torch_zip(path, made, storages | {"wide": bytes(16_000)})


def foreign_file(path, kind):
    """A file with names of timm, and shapes that cost nothing."""
    block = {
        "conv1.weight": (8, 3, 7, 7),
        "layer1.0.conv1.weight": (8, 8, 3, 3),
        "layer1.0.conv2.weight": (8, 8, 3, 3),
        "layer1.0.bn1.running_mean": (8,),
    }
    if kind == "classes":
        block["fc.weight"] = (500_000, 1)
        block["layer1.0.conv2.weight"] = (8000, 8, 3, 3)
    if kind == "blocks":
        block |= {f"layer1.{i}.conv1.weight": (0,) for i in range(1, 5000)}
    if kind == "channels":
        block["conv1.weight"] = (8, 1_000_000, 0, 7)
    made = {name: np.zeros(shape, "float16") for name, shape in block.items()}
    return written.torch_zip(path, *written.state(made))


def all_files(folder):
    files = {}
    for name, (changes, spec) in CARDS.items():
        for ending in ("safetensors", "keras"):
            path = folder / f"card {len(files)}.{ending}"
            files[f"{name}, {ending}"] = card_file(path, changes, spec)
    for name, change in GRAPHS.items():
        files[f"graph, {name}"] = graph_file(folder / f"graph {len(files)}.keras", change)
    files["unwritten, graph"] = unwritten_file(folder / "unwritten 1.keras")
    wide = dict(residual="bottleneck", cardinality=2, base_width=1, n_filters=[1600, 1600])
    files["unwritten, card"] = unwritten_file(folder / "unwritten 2.keras", wide)
    files["shared"] = shared_file(folder / "shared.pth")
    for kind in ("classes", "blocks", "channels"):
        files[f"foreign, {kind}"] = foreign_file(folder / f"foreign {kind}.pth", kind)
    return files


CHILD = """
import json, resource, sys, time
import numpy as np
import senet
files = json.loads(sys.stdin.read())
senet.load(files.pop("warm"))
def reset():
    try:  # on Linux: a peak that an earlier file left would hide that of a later one
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
def peak():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = {}
for name, path in files.items():
    reset()
    before, begin = peak(), time.perf_counter()
    try:
        senet.load(path)
        said = "loaded"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    found[name] = [said, peak() - before, time.perf_counter() - begin]
print(json.dumps(found))
"""


def test_small_files_that_ask_for_much_are_refused_before_anything_is_built(tmp_path):
    files = all_files(tmp_path)
    files["warm"] = tmp_path / "warm.keras"
    senet.save(tiny(), files["warm"])
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps({name: str(path) for name, path in files.items()}),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == len(files) - 1
    for name, (said, growth, seconds) in found.items():
        assert said.startswith("WeightsError: "), (name, said)
        assert growth < 50_000, (name, growth, said)  # kB
        assert seconds < 4, (name, seconds, said)  # 2 on a machine that does nothing else
        if not name.startswith("graph"):
            assert "\n" not in said or "does not hold" in said, (name, said)


@pytest.mark.parametrize("shape", [[10**9, 10**9, 3], [None, 70_000, 3], [0, 32, 3], [32, 32]])
def test_images_of_a_size_that_nobody_has_are_refused_of_a_whole_file_too(tmp_path, shape):
    model = tiny()
    senet.save(model, tmp_path / "a.safetensors")
    about = {MEMBER: json.dumps(model.card.to_json() | dict(input_shape=shape))}
    save_file(load_file(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", about)
    with pytest.raises(
        senet.WeightsError, match=r"senet\.json cannot be used: (The sizes|It needs)"
    ):
        senet.load(tmp_path / "b.safetensors")


def test_a_limit_holds_in_its_thread_and_is_taken_back():
    before = keras.Layer.add_weight
    with at_most(2, 9):
        keras.layers.Dense(3).build((None, 2))
    with pytest.raises(ValueError, match="larger than its arrays"), at_most(1, 9):
        keras.layers.Dense(3).build((None, 2))
    assert keras.Layer.add_weight is before
    with pytest.raises(ValueError, match="larger than its arrays"), at_most(9, 8):
        keras.layers.Dense(3).build((None, 2))
    keras.layers.Dense(30).build((None, 2))


def test_a_file_of_feature_maps_is_not_built_further_than_it_goes(tmp_path):
    model = senet.create("se_resnet18", features=(2,), **TINY)
    senet.save(model, tmp_path / "a.safetensors")
    card = model.card.to_json()
    card["spec"] |= dict(n_filters=[13_000, 13_000])
    arrays = load_file(tmp_path / "a.safetensors")
    save_file(arrays, tmp_path / "b.safetensors", {MEMBER: json.dumps(card)})
    assert senet.load(tmp_path / "b.safetensors").output_shape == model.output_shape
    for options in (dict(classes=5), dict(features=(4,))):
        with pytest.raises(senet.WeightsError, match=r"feature maps at strides \(2,\) alone"):
            senet.load(tmp_path / "b.safetensors", **options)


@pytest.mark.parametrize("options", [dict(pooling="avg"), dict(features=(8, 16)), {}])
def test_networks_of_no_spec_without_classifier_are_loaded(tmp_path, options):
    fields = dict(n_blocks=(1,) * 4, n_filters=(8,) * 4)
    model = senet.create(
        "resnet18", include_top=False, input_shape=(64, 64, 3), **fields, **options
    )
    made = senet.insert(model, 2)
    assert made.card.spec is None
    senet.save(made, tmp_path / "a.keras")
    again = senet.load(tmp_path / "a.keras")
    assert again.output_shape == made.output_shape


def test_what_is_no_model_is_not_built_for_one():
    config = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    with pytest.raises(ValueError, match="describes a Dense, which is no model"):
        build_described(config, (1, 9))


def test_a_network_that_fits_no_memory_is_refused_in_a_line():
    with pytest.raises(MemoryError, match=r"'se_resnet18' with 10{15} classes takes [\d,]+ GiB"):
        senet.create("se_resnet18", classes=10**15, **TINY)


# Damaged members


def with_member(path, name, data, method=zipfile.ZIP_STORED, change=None):
    """A saved network with another member, whose bytes are changed where they lie."""
    senet.save(tiny(), path)
    with zipfile.ZipFile(path) as archive:
        contents = {n: archive.read(n) for n in archive.namelist() if n != name}
    with zipfile.ZipFile(path, "w") as archive:
        for other, content in contents.items():
            archive.writestr(other, content)
        archive.writestr(name, data, method)
    if change is not None:
        raw = bytearray(path.read_bytes())
        begin = raw.rindex(name.encode(), 0, raw.index(b"PK\x01\x02")) + len(name)
        change(raw, begin, raw.rindex(b"PK\x01\x02"))
        path.write_bytes(raw)
    return path


def scribble(raw, begin, entry):
    raw[begin + 5 : begin + 25] = b"\xff" * 20


def other_method(raw, begin, entry):
    struct.pack_into("<H", raw, entry + 10, 77)


VALID = json.dumps(dict(format=1, spec=None, network="x", input_shape=[1, 1, 1], classes=2))
DAMAGE = {
    "bad deflate": (VALID * 9, zipfile.ZIP_DEFLATED, scribble),
    "bad LZMA": (VALID * 9, zipfile.ZIP_LZMA, scribble),
    "LZMA": (VALID, zipfile.ZIP_LZMA, None),
    "bzip2": (VALID, zipfile.ZIP_BZIP2, None),
    "unknown method": (VALID, zipfile.ZIP_DEFLATED, other_method),
    "another checksum": (VALID, zipfile.ZIP_STORED, scribble),
    "cut off": (VALID[:-5], zipfile.ZIP_STORED, None),
    "a list": ("[1, 2]", zipfile.ZIP_STORED, None),
    "null": ("null", zipfile.ZIP_STORED, None),
    "a number": ("7", zipfile.ZIP_STORED, None),
    "nothing": ("", zipfile.ZIP_STORED, None),
    "no text": (b"\xff\xfe\x00", zipfile.ZIP_STORED, None),
    "deep": ("[" * 10_000 + "]" * 10_000, zipfile.ZIP_STORED, None),
    "deep in a record": ('{"a":' * 10_000 + "1" + "}" * 10_000, zipfile.ZIP_STORED, None),
    "deep in a field": (VALID[:-1] + ', "name": ' + "[" * 900 + "]" * 900 + "}", 0, None),
    "a number of many digits": ('{"format": ' + "9" * 9000 + "}", zipfile.ZIP_STORED, None),
    "many parts": ('{"a": [' + "[]," * 300_000 + "1]}", zipfile.ZIP_STORED, None),
    "a bomb": (" " * 15_000_000, zipfile.ZIP_DEFLATED, None),
    "too large": ("[" + "1" * 2**24 + "]", zipfile.ZIP_STORED, None),
}


SAID = {
    "deep": "it is nested too deeply",
    "deep in a record": "it is nested too deeply",
    "bad deflate": "'senet.json' in it is damaged. Download it again.",
    "a list": "it holds no record",
    "many parts": "more parts than any",
}
"""What is said of some of them."""


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_card_is_a_weights_error(tmp_path, damage):
    path = with_member(tmp_path / "a.keras", MEMBER, *DAMAGE[damage])
    with pytest.raises(senet.WeightsError) as caught:
        senet.load(path)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)
    assert SAID.get(damage, "") in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_description_of_a_network_is_a_weights_error(tmp_path, damage):
    x = keras.Input((8, 8, 3))
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x))
    senet.save(keras.Model(x, y), tmp_path / "b.keras")
    with zipfile.ZipFile(tmp_path / "b.keras") as archive:
        card = archive.read(MEMBER)
    data, method, change = DAMAGE[damage]
    path = with_member(tmp_path / "a.keras", MEMBER, card)
    with zipfile.ZipFile(path) as archive:
        contents = {n: archive.read(n) for n in archive.namelist() if n != "config.json"}
    with zipfile.ZipFile(path, "w") as archive:
        for other, content in contents.items():
            archive.writestr(other, content)
        archive.writestr("config.json", data, method)
    if change is not None:
        raw = bytearray(path.read_bytes())
        begin = raw.rindex(b"config.json", 0, raw.index(b"PK\x01\x02")) + len("config.json")
        change(raw, begin, raw.rindex(b"PK\x01\x02"))
        path.write_bytes(raw)
    with pytest.raises(senet.WeightsError) as caught:
        senet.load(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("field", ["n_blocks", "ratio", "norm_epsilon", "se_at", "dilation"])
@pytest.mark.parametrize("value", [None, [], {}, "x", -1, 1e300, [None], [[1]], True, 10**30])
def test_fields_of_another_kind_are_refused_or_mean_the_same(tmp_path, field, value):
    model = tiny()
    senet.save(model, tmp_path / "a.safetensors")
    card = model.card.to_json()
    card["spec"] |= {field: value}
    about = {MEMBER: json.dumps(card)}
    save_file(load_file(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", about)
    value = None if value == 1e300 else value  # numbers beyond counting are none
    meant = (field, value) in [("se_at", None), ("se_at", []), ("ratio", None)]
    if meant and field == "se_at" and value is None:
        again = senet.load(tmp_path / "b.safetensors")
        for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        return
    with pytest.raises(senet.WeightsError) as caught:
        senet.load(tmp_path / "b.safetensors")
    said = str(caught.value)
    assert len(said) < 1000 or "does not hold" in said
    assert meant == ("in the file and not in the network" in said)
