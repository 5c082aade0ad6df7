"""A format that is not there: what it takes to add one."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import pytest

import senet
from senet.deployment.formats import FORMATS, NAMES, QUANTIZABLE

MADE_UP = """
import keras

from senet.deployment.formats.format import Format


def write(graph, folder, class_names):
    graph.save(folder / "model.keras")
    return "model.keras"


def run(file, precision="float32", threads=0):
    return keras.saving.load_model(file, compile=False).predict_on_batch


def quantize(file, inputs):
    graph = keras.saving.load_model(file, compile=False)
    for variable in graph.trainable_variables:
        values = keras.ops.convert_to_numpy(variable)
        step = abs(values).max() / 127 or 1
        variable.assign((values / step).round() * step)
    graph.save(file)


FORMAT = Format("made_up", ("float32",), write, run, quantize=quantize)
"""
PACKAGE = pathlib.Path(senet.__file__).parent


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="what is made up is written on TensorFlow alone"
)
def test_a_new_format_is_one_file_and_one_line(case, tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "senet", ignore=shutil.ignore_patterns("__pycache__"))
    formats = tmp_path / "senet" / "deployment" / "formats"
    (formats / "made_up.py").write_text(MADE_UP)
    text = (formats / "__init__.py").read_text()
    (formats / "__init__.py").write_text(text.replace("NAMES = (\n", 'NAMES = (\n    "made_up",\n'))
    about = dict(class_names=case.data.class_names, preprocessing=case.preprocessing)
    senet.save(case.model, tmp_path / "case.keras", **about)

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "senet", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    data = ("--data", case.folder)
    assert "[made_up|openvino|" in run("export", "--help").replace("\n", "").replace(" ", "")
    out = tmp_path / "out"
    exported = run("export", tmp_path / "case.keras", *data, "--format", "made_up", "--out", out)
    assert json.loads(exported.splitlines()[-1])["difference"] < 1e-5
    assert json.loads((out / "senet.json").read_text())["file"] == "model.keras"
    expected = json.loads(run("evaluate", tmp_path / "case.keras", *data).splitlines()[-1])
    scored = json.loads(run("evaluate", out, *data).splitlines()[-1])
    assert (scored["top1"], scored["images"]) == (expected["top1"], expected["images"])
    options = ("--format", "made_up", "--images", 10, "--max-drop", 100, "--out", out)
    small = json.loads(run("quantize", tmp_path / "case.keras", *data, *options).splitlines()[-1])
    assert small["top1_before"] == expected["top1"]
    assert 0 < abs(small["loss"] - small["loss_before"]) < 0.5


def test_every_file_of_a_format_is_in_the_list_under_its_own_name():
    files = {path.stem for path in (PACKAGE / "deployment" / "formats").glob("*.py")}
    assert files - {"__init__", "format", "excitations"} == set(NAMES)
    assert {name: style.name for name, style in FORMATS.items()} == {name: name for name in NAMES}
    assert set(QUANTIZABLE) == {"openvino", "onnx", "triton"}
    for style in FORMATS.values():
        assert "float32" in style.precisions
        assert "int8" not in style.precisions
        assert style.runs_in("int8") == (style.quantize is not None)
        assert not style.runs_in("float16")
