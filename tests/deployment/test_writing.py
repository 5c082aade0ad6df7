import importlib.util
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from senet.deployment import writing
from senet.deployment.export import export
from senet.deployment.exported import Exported
from senet.deployment.formats import FORMATS
from senet.deployment.inference import inference_model
from senet.deployment.quantize import quantize
from senet.errors import CapacityError, FileError, InputError, LibraryError

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tensorflow", "openvino", "onnxruntime", "tf2onnx"))),
    reason="the runtimes are an extra",
)
BACKEND = keras.backend.backend()


@pytest.fixture
def without_tensorflow(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name)
    )


def test_another_process_writes_the_same_file(case, tmp_path):
    """A backend other than TensorFlow takes this way; here TensorFlow goes it too."""
    graph, style = inference_model(case.model), FORMATS["openvino"]
    (tmp_path / "out").mkdir()
    file = writing.write_in_child(graph, style, tmp_path / "out", ("circle", "square"))
    assert file == "model.xml"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.bin", "model.xml"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    if BACKEND == "tensorflow":
        (tmp_path / "here").mkdir()
        writing.write(graph, style, tmp_path / "here", ("circle", "square"))
        ours, theirs = (tmp_path / place / "model.bin" for place in ("here", "out"))
        assert ours.read_bytes() == theirs.read_bytes()
    ours = style.run(str(tmp_path / "out" / file), "float32", 0)(case.inputs())
    np.testing.assert_allclose(ours, case.model.predict_on_batch(case.inputs()), atol=1e-5)


class Half(keras.layers.Layer):
    def call(self, x):
        return x / 2


def lambda_layer():
    return keras.layers.Lambda(lambda x: x)


@pytest.mark.parametrize(("layer", "name"), [(Half(), "Half"), (lambda_layer(), "Lambda")])
def test_a_layer_that_the_other_process_cannot_know_is_named(tmp_path, layer, name):
    """Also in a model inside the model."""
    x = keras.Input((8, 8, 3))
    inner, y = keras.Model(x, layer(x)), keras.Input((8, 8, 3))
    graph = keras.Model(y, keras.layers.GlobalAveragePooling2D()(inner(y)))
    said = rf"of Keras alone; with KERAS_BACKEND=tensorflow it .* \(here {name}\)\.$"
    with pytest.raises(InputError, match=said):
        writing.write_in_child(graph, FORMATS["onnx"], tmp_path, ("a", "b", "c"))
    assert not any(tmp_path.iterdir())


def halve(x):
    return x / 2


def test_a_function_that_the_other_process_cannot_know_is_explained(tmp_path):
    x = keras.Input((4,))
    graph = keras.Model(x, keras.layers.Dense(3, activation=halve)(x))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"functions of Keras alone; with KERAS_BACKEND=.*: \S"):
        writing.write_in_child(graph, FORMATS["onnx"], tmp_path / "out", ("a", "b", "c"))


def test_what_a_format_cannot_hold_is_said_by_the_other_process_too(tmp_path):
    x = keras.Input((8, 8, 3))
    y = keras.ops.linalg.svd(keras.ops.mean(x, -1), compute_uv=False)
    (tmp_path / "out").mkdir()
    with pytest.raises(
        InputError, match=r"^litert cannot hold this network: (?!litert)\S+"
    ) as error:
        writing.write_in_child(keras.Model(x, y), FORMATS["litert"], tmp_path / "out", ("a",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (-9, CapacityError, "There is not enough memory to write onnx."),
        (3, InputError, "TensorFlow ended with status 3: out of luck"),
    ],
)
def test_a_process_that_ends_without_an_answer_is_explained(
    case, tmp_path, monkeypatch, status, kind, said
):
    done = subprocess.CompletedProcess([], status, b"", b"I0000 hello\nout of luck\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(kind, match=said):
        writing.write_in_child(
            inference_model(case.model), FORMATS["onnx"], tmp_path / "out", ("a", "b")
        )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ('{"error": "", "kind": "memory"}', CapacityError, "not enough memory to write onnx"),
        ('{"error": "disk full", "kind": "system"}', FileError, "cannot be written: disk full"),
        ('{"error": "odd", "kind": ""}', InputError, "onnx cannot hold this network: odd"),
        ('{"error": "o', InputError, "TensorFlow ended with status 1"),
    ],
)
def test_what_the_other_process_answers_is_told_as_what_it_is(
    case, tmp_path, monkeypatch, answer, kind, said
):
    def reply(command, **_):
        pathlib.Path(command[-1], "answer.json").write_text(answer)
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(subprocess, "run", reply)
    with pytest.raises(kind, match=said):
        writing.write_in_child(inference_model(case.model), FORMATS["onnx"], tmp_path, ("a", "b"))


def test_the_other_process_says_when_it_cannot_write(case, tmp_path):
    with pytest.raises(FileError, match=r"openvino cannot be written: .*nowhere"):
        writing.write_in_child(
            inference_model(case.model), FORMATS["openvino"], tmp_path / "nowhere", ("a", "b")
        )


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.usefixtures("without_tensorflow")
def test_without_tensorflow_one_line_says_what_to_install(case, tmp_path, style):
    if BACKEND == "torch" and style in ("onnx", "openvino", "triton"):
        pytest.skip("PyTorch writes these by itself")
    with pytest.raises(LibraryError) as error:
        export(case.model, tmp_path / "out", style, images=case.pixels(), **case.about)
    assert str(error.value) == (
        'This needs tensorflow, which is not installed: pip install "senet[tensorflow]".'
    )
    assert not any(tmp_path.iterdir())


def test_a_runtime_that_is_not_installed_is_named(case, tmp_path, request):
    export(case.model, tmp_path / "out", "saved_model", images=case.pixels(), **case.about)
    request.getfixturevalue("without_tensorflow")
    with pytest.raises(LibraryError, match=r"^This needs tensorflow, which is not installed: pip"):
        Exported(tmp_path / "out")


@pytest.mark.skipif(BACKEND != "torch", reason="the others do not write files by themselves")
@pytest.mark.parametrize("style", ["onnx", "openvino", "triton"])
@pytest.mark.usefixtures("without_tensorflow")
def test_pytorch_writes_onnx_and_what_is_made_of_it_by_itself(case, tmp_path, style, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)  # no other process
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    folder = tmp_path / "out"
    comparison = export(case.model, folder, style, images=case.pixels(), **case.about)
    assert comparison.difference < 1e-5
    network = Exported(folder, precision="float32")
    ours = network.predict_on_batch(case.inputs()[:5])  # the batch is open
    np.testing.assert_allclose(ours, case.model.predict_on_batch(case.inputs()[:5]), atol=1e-5)
    from tests.deployment.test_export import ENTRIES, entries_of

    assert entries_of(folder) == ENTRIES["openvino" if style == "openvino" else "onnx"]


@pytest.mark.skipif(BACKEND != "torch", reason="the others do not write files by themselves")
@pytest.mark.parametrize("style", ["onnx", "openvino"])
@pytest.mark.usefixtures("without_tensorflow")
def test_files_of_pytorch_become_int8_without_their_excitations(case, tmp_path, style):
    pytest.importorskip("nncf")
    result = quantize(
        case.model,
        tmp_path / "out",
        style,
        images=case.pixels("train", 40),
        held_out=case.data.split("test"),
        max_drop=5,
        **case.about,
    )
    assert result.after.top1 > 0.8
    from tests.deployment.test_quantize import count_int8_gates

    assert count_int8_gates(tmp_path / "out") == (4, 0)


def test_the_request_to_the_other_process_is_plain_data(case, tmp_path, monkeypatch):
    seen = {}

    def look(command, env, **_):
        folder = command[-1]
        with open(f"{folder}/request.json") as file:
            seen.update(json.load(file), env=env, command=command)
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(subprocess, "run", look)
    with pytest.raises(InputError, match="it said nothing"):
        writing.write_in_child(inference_model(case.model), FORMATS["onnx"], tmp_path, ("a", "b"))
    assert seen["class_names"] == ["a", "b"]
    assert seen["format"] == "onnx"
    assert seen["env"]["KERAS_BACKEND"] == "tensorflow"
    assert "-P" in seen["command"]  # nothing of the current folder is imported
