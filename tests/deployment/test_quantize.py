import importlib.util
import logging
import re

import numpy as np
import pytest

from senet import progress
from senet.deployment.exported import Exported
from senet.deployment.formats import FORMATS
from senet.deployment.manifest import Manifest
from senet.deployment.quantize import quantize
from senet.deployment.verify import Disagreement
from tests.deployment.test_export import entries_of

pytestmark = pytest.mark.skipif(
    not all(
        importlib.util.find_spec(name)
        for style in FORMATS.values()
        for name in ("tensorflow", *style.written_by, *style.run_by, *style.quantized_by)
    ),
    reason="the libraries that quantise are an extra",
)


NATIVE = re.compile(r"WARNING: All log messages before absl|[IWE]\d{4} ")
"""How lines of TensorFlow's native code begin; the command line keeps them back."""
TYPES = {
    False: ("tensor(float)", "<Type: 'float32'>"),
    True: ("tensor(uint8)", "<Type: 'uint8_t'>"),
}
"""What runtimes call the type of the input, by whether it is pixels."""


@pytest.fixture(scope="module", params=["openvino", "onnx", "openvino of pixels", "onnx of pixels"])
def quantized(request, case, tmp_path_factory):
    style = request.param.split()[0]
    folder = tmp_path_factory.mktemp("int8") / style
    result = quantize(
        case.model,
        folder,
        style,
        images=case.pixels("train", 40),
        held_out=case.data.split("test"),
        max_drop=5,
        pixels=request.param.endswith("pixels"),
        **case.about,
    )
    return folder, result


def test_an_int8_network_is_as_good_and_not_the_same(quantized, case):
    folder, result = quantized
    assert result.after.top1 >= result.before.top1 - 0.05
    assert result.before.top1 > 0.8
    assert len(result.after.labels) == 24
    manifest = Manifest.read(folder)
    inputs = case.pixels() if manifest.pixels else case.inputs()
    ours = Exported(folder).predict_on_batch(inputs)
    difference = np.abs(ours - case.model.predict_on_batch(case.inputs())).max()
    assert 1e-4 < difference < 0.3
    assert manifest.precision == "int8"
    assert manifest.checked["difference"] is None
    assert entries_of(folder)[0][2] in TYPES[manifest.pixels]


def count_int8_gates(folder):
    """How many gates a network has, and how many of them are computed in int8."""
    if (folder / "model.xml").exists():
        import openvino

        nodes = openvino.Core().read_model(folder / "model.xml").get_ordered_ops()
        gates = [node for node in nodes if node.get_type_name() == "Sigmoid"]
        before = [node.input_value(0).get_node().get_type_name() for node in gates]
        return len(gates), before.count("FakeQuantize")
    import onnx

    graph = onnx.load(folder / "model.onnx").graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    gates = [node for node in graph.node if node.op_type == "Sigmoid"]
    before = [makers[node.input[0]] for node in gates]
    return len(gates), before.count("DequantizeLinear")


def test_convolutions_are_in_int8_and_excitations_are_not(quantized):
    folder, _ = quantized
    assert count_int8_gates(folder) == (4, 0)
    if folder.name == "openvino":
        text = (folder / "model.xml").read_text()
        assert len(re.findall(r'type="FakeQuantize"', text)) >= 10
        assert len(re.findall(r'element_type="i8"', text)) == 13  # 12 convolutions, one dense
    else:
        import onnx

        graph = onnx.load(folder / "model.onnx").graph
        makers = {output: node.op_type for node in graph.node for output in node.output}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        assert len(convolutions) == 12
        assert {makers[i] for node in convolutions for i in node.input[:2]} == {"DequantizeLinear"}


def test_the_file_is_about_a_quarter_of_that_in_float32(quantized, case):
    folder, _ = quantized
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < 0.32 * 4 * case.model.count_params()


@pytest.mark.parametrize("style", ["openvino", "onnx"])
def test_the_libraries_that_quantise_say_nothing_and_progress_is_told(
    case, tmp_path, style, capfd, caplog, monkeypatch
):
    """ONNX Runtime asks for preprocessing where there was none; NNCF names what it leaves out."""
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    level = logging.getLogger("nncf").level
    quantize(
        case.model,
        tmp_path / "out",
        style,
        images=case.pixels("train", 12),
        held_out=case.data.split("test"),
        max_drop=100,
        **case.about,
    )
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "calibrating: 12/12 images" in printed.err
    assert f"running {style} in int8: 12/12 images" in printed.err
    known = ("calibrating: ", "running ", "before: ", "after: ")
    strange = [line for line in printed.err.splitlines() if not line.startswith(known)]
    assert [line for line in strange if not NATIVE.match(line)] == []
    assert [record.getMessage() for record in caplog.records] == []
    assert logging.getLogger("nncf").level == level


def test_a_network_that_loses_too_much_is_not_published(case, tmp_path):
    with pytest.raises(Disagreement, match=r"In int8 .* points are lost, and -200 may be"):
        quantize(
            case.model,
            tmp_path / "out",
            "openvino",
            images=case.pixels("train", 10),
            held_out=case.data.split("test"),
            max_drop=-200,
            **case.about,
        )
    assert not any(tmp_path.iterdir())


def test_formats_without_int8_are_refused(case, tmp_path):
    with pytest.raises(ValueError, match="must be one of openvino, onnx, triton for int8"):
        quantize(
            case.model,
            tmp_path / "out",
            "litert",
            images=case.pixels(),
            held_out=case.data.split("test"),
            **case.about,
        )
