import importlib.util
import re

import numpy as np
import pytest

from senet.deployment.exported import Exported
from senet.deployment.formats import FORMATS
from senet.deployment.manifest import Manifest
from senet.deployment.quantize import quantize
from senet.deployment.verify import Disagreement

pytestmark = pytest.mark.skipif(
    not all(
        importlib.util.find_spec(name)
        for style in FORMATS.values()
        for name in ("tensorflow", *style.written_by, *style.run_by, *style.quantized_by)
    ),
    reason="the libraries that quantise are an extra",
)


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def quantized(request, case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8") / request.param
    result = quantize(
        case.model,
        folder,
        request.param,
        images=case.pixels("train", 40),
        held_out=case.data.split("test"),
        max_drop=5,
        **case.about,
    )
    return folder, result


def test_an_int8_network_is_as_good_and_not_the_same(quantized, case):
    folder, result = quantized
    assert result.after.top1 >= result.before.top1 - 0.05
    assert result.before.top1 > 0.8
    assert len(result.after.labels) == 24
    ours = Exported(folder).predict_on_batch(case.inputs())
    difference = np.abs(ours - case.model.predict_on_batch(case.inputs())).max()
    assert 1e-4 < difference < 0.3
    assert Manifest.read(folder).precision == "int8"
    assert Manifest.read(folder).checked["difference"] is None


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
