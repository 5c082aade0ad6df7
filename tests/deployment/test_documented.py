"""The programs of docs/deployment.md, which use neither senet nor Keras."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import keras
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import senet
from senet.deployment.export import export
from senet.deployment.quantize import quantize

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "deployment.md"
STYLES = {"ONNX Runtime": "onnx", "OpenVINO": "openvino", "LiteRT": "litert"}
PROGRAMS = re.findall(
    rf"^## ({'|'.join(STYLES)})\n\n```python\n(.*?)^```", PAGE.read_text(), flags=re.S | re.M
)
OTHERS = "import sys\nfor name in ('senet', 'keras', 'tensorflow'): sys.modules[name] = None\n"
"""Importing them raises then."""
CLOSE = 1e-4
ROUNDED = 0.02
"""Largest difference of a probability in bfloat16 or int8; runtimes choose what they round."""

pytestmark = pytest.mark.skipif(
    not all(
        map(importlib.util.find_spec, ("tensorflow", "openvino", "onnxruntime", "ai_edge_litert"))
    ),
    reason="the runtimes are an extra",
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """One that lies, and one that a camera took upright."""
    folder, found = tmp_path_factory.mktemp("photographs"), []
    for number, pixels in enumerate(load_sample_images().images):
        image, exif = Image.fromarray(pixels[:, : 611 - 300 * number]), Image.Exif()
        exif[0x0112] = (1, 6)[number]
        found.append(folder / f"{number}.jpg")
        image.save(found[-1], exif=exif)
    return found


@pytest.fixture(scope="module")
def doubtful(case):
    """The network with a fifth of its logits: where it is sure, all inputs give the same."""
    model = keras.models.clone_model(case.model)
    model.set_weights(case.model.get_weights())
    classifier = model.layers[-1]
    classifier.set_weights([values / 5 for values in classifier.get_weights()])
    return model


@pytest.fixture(scope="module", params=["as it is", "pixels", "int8"])
def exported(request, case, doubtful, tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented")
    filters = {"as it is": "bicubic", "pixels": "bilinear", "int8": "bicubic"}
    rule = senet.Preprocessing(32, 0.75, filters[request.param], (0.4, 0.5, 0.6))
    about = dict(class_names=case.data.class_names, preprocessing=rule)
    for style in STYLES.values():
        if request.param != "int8":
            options = about | dict(images=case.pixels(), pixels=request.param == "pixels")
            export(doubtful, folder / f"photos-{style}", style, **options)
        elif style != "litert":
            options = about | dict(images=case.pixels("train"), held_out=case.data.split("test"))
            quantize(doubtful, folder / f"photos-{style}", style, max_drop=100, **options)
    return folder


def test_each_program_has_no_more_than_ten_lines_for_a_photograph():
    assert [name for name, _ in PROGRAMS] == list(STYLES)
    for _, program in PROGRAMS:
        _, once, each = program.split("\n\n")
        assert len(once.splitlines()) == 2
        assert len(each.splitlines()) <= 10


@pytest.mark.parametrize(("name", "program"), PROGRAMS, ids=list(STYLES))
def test_what_a_program_prints_is_what_senet_predicts(exported, photographs, name, program):
    folder = exported / f"photos-{STYLES[name]}"
    if not folder.exists():
        pytest.skip("LiteRT has no int8 here")
    for photograph in photographs:
        (exported / "photo.jpg").write_bytes(photograph.read_bytes())
        done = subprocess.run(
            [sys.executable, "-c", OTHERS + program], cwd=exported, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        (best, *_) = senet.predict(folder, photograph)
        kind, probability = done.stdout.split()[-2:]
        assert kind == best.name
        assert 0.52 < best.probability < 0.95
        rounded = senet.deployment.manifest.Manifest.read(folder).precision != "float32"
        assert abs(float(probability) - best.probability) < (ROUNDED if rounded else CLOSE)
