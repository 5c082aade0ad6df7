import importlib.util
import json
import shutil

import keras
import numpy as np
import pytest

import senet
from senet.deployment import export as export_module
from senet.deployment.export import export
from senet.deployment.exported import Exported, is_exported
from senet.deployment.formats import FORMATS
from senet.deployment.images import photographs
from senet.deployment.inference import inference_model
from senet.deployment.manifest import MANIFEST, Manifest
from senet.deployment.verify import Disagreement, compare
from senet.deployment.writing import write
from senet.foreign import MAX_FILE

LIBRARIES = {"tensorflow"} | {
    name for style in FORMATS.values() for name in (*style.written_by, *style.run_by)
}
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, LIBRARIES)), reason="the runtimes are an extra"
)


@pytest.fixture(scope="module", params=list(FORMATS))
def exported(request, case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / request.param
    comparison = export(case.model, folder, request.param, images=case.pixels(), **case.about)
    return folder, comparison


def test_what_was_exported_answers_as_keras_does(exported, case):
    folder, comparison = exported
    network = Exported(folder, precision="float32")
    expected = case.model.predict_on_batch(case.inputs())
    for count in (1, 5):  # the batch is open
        ours = network.predict_on_batch(case.inputs()[:count])
        np.testing.assert_allclose(ours, expected[:count], atol=1e-5)
    assert comparison.images == len(case.inputs()) == 24
    assert comparison.difference < 1e-5
    assert comparison.agreement == 1
    assert 0.5 < expected.max(axis=1).mean() < 1


def entries_of(folder):
    """Name, shape and type of what a runtime takes and gives, as it says itself."""
    manifest = Manifest.read(folder)
    file = str(folder / manifest.file)
    if manifest.format in ("onnx", "triton"):
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        ends = (*session.get_inputs(), *session.get_outputs())
        return [(end.name, end.shape, end.type) for end in ends]
    if manifest.format == "openvino":
        import openvino

        network = openvino.Core().read_model(file)
        ends = (*network.inputs, *network.outputs)
        kinds = [(end.any_name, str(end.partial_shape), str(end.element_type)) for end in ends]
        assert [len(end.names) for end in ends] == [1, 1]
        return kinds
    if manifest.format == "litert":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(file)
        (named,) = interpreter.get_signature_list().values()
        (entry,), (outlet,) = interpreter.get_input_details(), interpreter.get_output_details()
        both = [(*entry["shape_signature"],), (*outlet["shape_signature"],)]
        kinds = [entry["dtype"].__name__, outlet["dtype"].__name__]
        return list(zip(named["inputs"] + named["outputs"], both, kinds, strict=True))
    import tensorflow as tf

    serve = tf.saved_model.load(file).signatures["serving_default"]
    ends = [*serve.structured_input_signature[1].items(), *serve.structured_outputs.items()]
    return [(name, tuple(end.shape), end.dtype.name) for name, end in ends]


ENTRIES = {
    "onnx": [
        ("image", ["batch", 32, 32, 3], "tensor(float)"),
        ("probabilities", ["batch", 2], "tensor(float)"),
    ],
    "openvino": [
        ("image", "[?,32,32,3]", "<Type: 'float32'>"),
        ("probabilities", "[?,2]", "<Type: 'float32'>"),
    ],
    "saved_model": [
        ("image", (None, 32, 32, 3), "float32"),
        ("probabilities", (None, 2), "float32"),
    ],
    "litert": [("image", (-1, 32, 32, 3), "float32"), ("probabilities", (-1, 2), "float32")],
}


def test_input_output_and_batch_have_names_that_say_what_they_are(exported):
    folder, _ = exported
    style = Manifest.read(folder).format
    assert entries_of(folder) == ENTRIES["onnx" if style == "triton" else style]


def test_every_weight_is_stored_once(exported, case):
    folder, _ = exported
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    weights = 4 * inference_model(case.model).count_params()
    assert weights <= size < 1.02 * weights + 250_000


def test_the_manifest_says_what_was_compared_and_how_to_use_it(exported, case):
    folder, comparison = exported
    manifest = Manifest.read(folder)
    assert manifest.checked == comparison.to_json()
    assert manifest.class_names == ("circle", "square")
    assert manifest.preprocessing == case.preprocessing
    assert manifest.precision == FORMATS[manifest.format].precisions[0]
    assert is_exported(folder)


def test_the_manifest_has_the_whole_rule_for_a_program_without_senet(exported):
    folder, _ = exported
    rule = json.loads((folder / MANIFEST).read_text())
    assert rule["input"] == dict(
        name="image", shape=["batch", 32, 32, 3], layout="NHWC", colours="RGB", type="float32"
    )
    assert rule["resize"] == dict(shorter_edge=32, interpolation="bicubic", antialias=True)
    assert rule["crop"] == dict(size=32, where="centre")
    assert rule["scale"]["mean"] == [102, 127.5, 153]
    np.testing.assert_allclose(rule["scale"]["std"], [58.395, 57.12, 57.375], rtol=1e-12)
    assert rule["output"] == dict(name="probabilities", shape=["batch", 2], type="float32")


def test_a_manifest_that_says_two_different_things_is_refused(exported, tmp_path):
    folder, _ = exported
    rule = json.loads((folder / MANIFEST).read_text())
    rule["scale"]["mean"][0] += 1
    (tmp_path / MANIFEST).write_text(json.dumps(rule))
    with pytest.raises(ValueError, match=r"its scale and its preprocessing, .* say two diff"):
        Manifest.read(tmp_path)


def test_nothing_else_is_left_beside_an_export(exported):
    folder, _ = exported
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert [path.name for path in folder.rglob("*") if path.name.startswith((".", "tmp"))] == []


def test_no_path_of_this_machine_is_in_an_export(exported):
    folder, _ = exported
    home = str(folder.parent.parent).encode()
    for path in folder.rglob("*"):
        assert path.is_dir() or home not in path.read_bytes(), path


@pytest.mark.parametrize("style", ["openvino", "saved_model"])
def test_the_graph_may_normalise_pixels_itself(case, tmp_path, style):
    comparison = export(
        case.model, tmp_path / "out", style, images=case.pixels(), pixels=True, **case.about
    )
    assert comparison.difference < 1e-5
    network = Exported(tmp_path / "out", precision="float32")
    ours = network.predict_on_batch(case.pixels().astype("float32"))
    np.testing.assert_allclose(ours, case.model.predict_on_batch(case.inputs()), atol=1e-5)


def broken(model):
    """The inference graph with a little of one weight changed."""
    graph = export_inference(model)
    kernel = graph.layers[-1].kernel
    kernel.assign(kernel * 0.9)
    return graph


export_inference = export_module.inference_model


def test_a_graph_that_answers_differently_is_not_published(case, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    export(case.model, folder, "openvino", images=case.pixels(), **case.about)
    before = (folder / "model.bin").read_bytes()
    monkeypatch.setattr(export_module, "inference_model", broken)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(Disagreement, match=r"differ by .* of the largest on 24 images"):
            export(case.model, target, "openvino", images=case.pixels(), **case.about)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (folder / "model.bin").read_bytes() == before


def test_an_earlier_export_is_replaced_and_another_folder_is_not(case, tmp_path):
    for _ in range(2):
        export(case.model, tmp_path / "out", "openvino", images=case.pixels(), **case.about)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(FileExistsError, match="holds something else"):
        export(case.model, tmp_path / "mine", "openvino", images=case.pixels(), **case.about)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize(
    ("style", "precision", "said"),
    [
        ("tensorrt", None, "must be one of openvino, onnx"),
        ("onnx", "bfloat16", "onnx runs in float32; got precision 'bfloat16'"),
        ("openvino", "int8", "senet quantize"),
    ],
)
def test_what_does_not_exist_is_refused(case, tmp_path, style, precision, said):
    with pytest.raises(ValueError, match=said):
        export(
            case.model,
            tmp_path / "out",
            style,
            images=case.pixels(),
            precision=precision,
            **case.about,
        )
    assert not any(tmp_path.iterdir())


def test_tritons_repository_has_its_configuration(case, tmp_path):
    export(case.model, tmp_path / "out", "triton", images=case.pixels(), pixels=True, **case.about)
    model = tmp_path / "out" / "se_resnet10"
    config = (model / "config.pbtxt").read_text()
    assert 'platform: "onnxruntime_onnx"' in config
    assert "TYPE_UINT8 dims: [ 32, 32, 3 ]" in config
    assert 'TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt"' in config
    assert (model / "labels.txt").read_text() == "circle\nsquare\n"
    assert (model / "1" / "model.onnx").is_file()


def test_triton_is_told_which_sides_are_open(tmp_path):
    model = senet.create("se_resnet10", classes=2, input_shape=(None, None, 3))
    (tmp_path / "out").mkdir()
    file = write(inference_model(model), FORMATS["triton"], tmp_path / "out", ("a", "b"))
    config = (tmp_path / "out" / "se_resnet10" / "config.pbtxt").read_text()
    assert 'name: "image" data_type: TYPE_FP32 dims: [ -1, -1, 3 ]' in config
    network = FORMATS["triton"].run(str(tmp_path / "out" / file), "float32", 0)
    for size in (32, 48):
        images = np.random.default_rng(size).random((2, size, size, 3)).astype("float32")
        np.testing.assert_allclose(network(images), model.predict_on_batch(images), atol=1e-5)


def test_a_damaged_export_is_named(case, tmp_path):
    folder = tmp_path / "out"
    export(case.model, folder, "openvino", images=case.pixels(), **case.about)
    (folder / "model.xml").write_text("<net")
    with pytest.raises(ValueError, match=r"model.xml' cannot be run"):
        Exported(folder)
    (folder / "model.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 'model.xml'"):
        Exported(folder)


@pytest.mark.parametrize("names", [["circle"], ["a", "b", "c"], []])
def test_a_manifest_with_other_classes_than_the_network_is_named(case, tmp_path, names):
    folder = tmp_path / "out"
    export(case.model, folder, "onnx", images=case.pixels(), **case.about)
    manifest = json.loads((folder / "senet.json").read_text())
    manifest["output"]["shape"][1] = len(names)
    (folder / "senet.json").write_text(json.dumps(manifest | dict(class_names=names)))
    with pytest.raises(ValueError, match=rf"out' is damaged: its senet.json names {len(names)} cl"):
        Exported(folder).predict_on_batch(np.zeros((1, 32, 32, 3), "float32"))


ABOUT = dict(
    version=1,
    network="se_resnet10",
    format="openvino",
    precision="bfloat16",
    file="model.xml",
    class_names=["a", "b"],
    preprocessing={"size": 32},
)


@pytest.mark.parametrize(
    "change",
    [
        dict(file="../model.xml"),
        dict(file="/etc/passwd"),
        dict(file="C:evil.onnx"),
        dict(file="\\evil.onnx"),
        dict(version=True),
        dict(format="pickle"),
        dict(class_names="ab"),
        dict(class_names=[1, 2]),
        dict(class_names=None),
        dict(precision=8),
        dict(version=2),
        dict(preprocessing={}),
        dict(preprocessing={"size": 32, "mean": [10**400, 0, 0]}),
        dict(preprocessing={"size": 32, "std": [float("nan")] * 3}),
        dict(preprocessing={"size": 32, "std": [1e-300] * 3}),
        dict(preprocessing={"size": True}),
        dict(preprocessing=3),
        dict(input=3),
        dict(extra=1),
    ],
)
def test_a_manifest_that_was_tampered_with_is_refused(tmp_path, change):
    (tmp_path / MANIFEST).write_text(json.dumps(ABOUT | change))
    with pytest.raises(ValueError, match="cannot be used"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        (" " * (MAX_FILE + 1), "no file of up to"),
        ("[]", "holds no record"),
        ('{"version": 1, "network": "' + "\\u001b[31m" * 10_000 + '"}', "cannot be used"),
        ('{"version": 1, "' + "x" * 100_000 + '": 1}', "cannot be used"),
        (json.dumps(ABOUT | dict(file="x" * 100_000)), "is no name of a file"),
        (json.dumps(ABOUT | dict(class_names=3)), "cannot be used"),
    ],
)
def test_a_manifest_that_anybody_may_have_written_is_refused_in_a_line(tmp_path, text, said):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        Manifest.read(tmp_path)
    assert str(tmp_path / MANIFEST) in str(error.value)
    assert len(str(error.value)) < 1000
    assert str(error.value).isprintable()


def test_a_folder_without_a_manifest_is_no_export(tmp_path):
    with pytest.raises(FileNotFoundError, match="no exported network"):
        Manifest.read(tmp_path)


def test_a_saved_model_that_reads_files_is_not_run(case, tmp_path):
    import tensorflow as tf

    folder = tmp_path / "out"
    export(case.model, folder, "saved_model", images=case.pixels(), **case.about)

    class Spy(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3))])
        def serve(self, image):
            secret = tf.strings.length(tf.io.read_file("/etc/hostname"))
            return tf.reduce_mean(image, (1, 2, 3)) + tf.cast(secret, "float32")

    spy = Spy()
    tf.saved_model.save(spy, str(folder / "1"), signatures={"serving_default": spy.serve})
    with pytest.raises(ValueError, match=r"\(ReadFile, StringLength\), so it is not run"):
        Exported(folder)


def test_a_saved_model_that_runs_something_while_it_is_loaded_is_not_loaded(case, tmp_path):
    import tensorflow as tf

    folder, stolen = tmp_path / "out", tmp_path / "stolen"
    export(case.model, folder, "saved_model", images=case.pixels(), **case.about)

    class Thing(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.VarHandleOp(dtype="float32", shape=())

        def _initialize(self):
            tf.io.write_file(str(stolen), "written while it was loaded")

    class Spy(tf.Module):
        def __init__(self):
            self.thing = Thing()

        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), name="image")])
        def serve(self, image):
            return tf.reduce_mean(image, (1, 2))[:, :2]

    spy = Spy()
    tf.saved_model.save(spy, str(folder / "1"), signatures={"serving_default": spy.serve})
    with pytest.raises(ValueError, match=r"while they are loaded \(resource\), so it is"):
        Exported(folder)
    assert not stolen.exists()


@pytest.mark.parametrize("change", [dict(pixels=True), dict(preprocessing={"size": 16})])
def test_a_manifest_of_other_inputs_than_the_network_has_is_one_line(exported, tmp_path, change):
    folder, _ = exported
    shutil.copytree(folder, tmp_path / "out")
    rule = json.loads((folder / MANIFEST).read_text())
    for key in ("input", "resize", "crop", "scale"):
        del rule[key]
    (tmp_path / "out" / MANIFEST).write_text(json.dumps(rule | change))
    network = Exported(tmp_path / "out")
    images = np.zeros((2, 32, 32, 3) if "pixels" in change else (2, 16, 16, 3), "float32")
    takes = {"pixels": ("openvino",), "preprocessing": ("saved_model", "litert")}
    if network.manifest.format in takes[next(iter(change))]:  # these convert types, or any size
        assert network.predict_on_batch(images).shape == (2, 2)
        return
    with pytest.raises(senet.InputError, match=r"cannot be run on inputs \(2, ") as error:
        network.predict_on_batch(images)
    assert "\n" not in str(error.value)


def test_a_precision_that_the_runtime_does_not_have_is_refused(exported):
    folder, _ = exported
    with pytest.raises(senet.InputError, match="does not run in 'float8'"):
        Exported(folder, precision="float8")


def test_a_name_that_a_folder_or_a_text_cannot_have_is_made_plain(case, tmp_path):
    model = keras.Model(case.model.input, case.model.output, name="..my>net")
    export(model, tmp_path / "out", "triton", images=case.pixels(), **case.about)
    assert Manifest.read(tmp_path / "out").file == "my_net/1/model.onnx"
    config = (tmp_path / "out" / "my_net" / "config.pbtxt").read_text()
    assert 'name: "my_net"' in config


def test_pixels_are_normalised_in_float32_under_any_policy(case, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    comparison = export(
        case.model, tmp_path / "out", "onnx", images=case.pixels(), pixels=True, **case.about
    )
    assert comparison.difference < 1e-5


def test_outputs_that_are_no_numbers_never_agree():
    keras_outputs = np.array([[0.1, 0.9], [0.8, 0.2]], "float32")
    with pytest.raises(Disagreement):
        compare(keras_outputs, keras_outputs, "float32", keras_outputs * np.nan).check()
    with pytest.raises(Disagreement, match=r"only 50.0% of 2 images"):
        compare(keras_outputs, keras_outputs[:, ::-1] * [[1], [-1]], "int8", None).check()


def test_without_images_parts_of_photographs_are_compared(case):
    pictures = photographs(case.preprocessing)
    assert pictures.shape == (16, 32, 32, 3)
    assert len(np.unique(pictures.reshape(16, -1), axis=0)) == 16
