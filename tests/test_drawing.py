import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

import senet
from senet import drawing
from senet.drawing import draw
from senet.models.complexity import shapes_only
from senet.plotting.diagrams import Box, Diagram, draw_diagrams

SVG = "{http://www.w3.org/2000/svg}"


def texts(path):
    """All lines of text in an SVG file."""
    return [element.text for element in ET.parse(path).iter(f"{SVG}text")]  # noqa: S314 our own file


def trainable(model, prefix):
    return sum(
        math.prod(w.shape)
        for layer in model.layers
        if layer.name.startswith(prefix)
        for w in layer.trainable_weights
    )


@pytest.mark.parametrize(
    "name",
    ["se_resnet18", "resnet50", "se_resnext50_32x4d", "senet154", "se_preresnet164_cifar"],
)
def test_shapes_and_counts_are_those_of_the_model(tmp_path, name):
    with shapes_only():
        model = senet.create(name, input_shape=(64, 64, 3), classes=10)
    paths = draw(model, tmp_path / "new")
    assert [path.name for path in paths] == [
        f"{name}-{part}.{ending}" for part in ("macro", "micro") for ending in ("svg", "png")
    ]
    macro, micro = texts(paths[0]), texts(paths[2])
    for stage in ("stem", "stage1", "stage2", "stage3", "classifier"):
        assert stage in macro
        assert f"{trainable(model, stage):,} parameters" in macro
    block = re.search(r"identity block \((\w+)\)", " ".join(micro))[1]
    add = model.get_layer(f"{block}_add").output.shape
    assert " x ".join(map(str, add[1:])) in micro
    if name.startswith("se"):
        assert f"{trainable(model, f'{block}_se_'):,} parameters" in micro
        assert micro.count("squeeze_excite_block") == 2
    else:
        assert not any("squeeze" in text for text in micro)
    for path in paths[1::2]:
        with Image.open(path) as picture:
            assert picture.width > 500


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(squeeze="max", excitation="tanh"), {"global max pooling", "dense, tanh"}),
        (dict(squeeze="none"), {"1 x 1 convolution, sigmoid"}),
        (dict(projection="average", placement="identity"), {"squeeze_excite_block"}),
        (dict(antialias=True, strided="3x3", placement="post"), {"squeeze_excite_block"}),
    ],
)
def test_choices_of_the_design_space_are_drawn(tmp_path, options, words):
    with shapes_only():
        model = senet.create("se_resnet50", input_shape=(64, 64, 3), classes=10, **options)
    draw(model, tmp_path)
    assert words <= set(texts(tmp_path / "se_resnet50-micro.svg"))


def test_the_same_network_gives_the_same_file(tmp_path):
    model = senet.create("se_resnet20_cifar")
    for folder in ("a", "b"):
        draw(model, tmp_path / folder)
    for path in (tmp_path / "a").glob("*.svg"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_arrow_around_boxes_and_a_box_aside_keep_clear_of_the_column(tmp_path):
    boxes = {name: Box(name) for name in ("x", "aside", "a", "b", "c")}
    arrows = [("x", "a"), ("a", "b"), ("b", "c"), ("x", "aside"), ("aside", "c")]
    draw_diagrams([Diagram("one", boxes, arrows)], tmp_path / "one.svg")
    root = ET.parse(tmp_path / "one.svg")  # noqa: S314 our own file
    left = {e.text: e.attrib for e in root.iter(f"{SVG}text")}
    assert set(left) == {"one", *boxes}


def test_a_model_without_stages_is_refused(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))
    with pytest.raises(ValueError, match=r"made by senet\.create"):
        draw(model, tmp_path)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """What `draw` gives to the plotting: a function from a network to its diagrams by title."""

    def diagrams_of(name, **options):
        found = {}

        def keep(pictures, paths):
            found.update({picture.title: picture for picture in pictures})

        monkeypatch.setattr(drawing, "draw_diagrams", keep)
        draw(senet.create(name, input_shape=(64, 64, 3), classes=10, **options), tmp_path)
        return found

    return diagrams_of


def test_blocks_are_drawn_with_their_wiring(drawn):
    found = drawn("se_resnext50_32x4d")
    block = found["projection block (stage2_block1)"]
    boxes, arrows = block.boxes, block.arrows
    inside = ["reduce", "3x3", "expand", "se", "add"]
    assert set(arrows) == {
        ("x", "projection"),
        ("projection", "add"),
        ("x", "reduce"),
        *itertools.pairwise(inside),
    }
    assert boxes["3x3"].text == "3 x 3 convolution, 256"
    assert boxes["3x3"].detail == "stride 2, 32 groups, norm, ReLU"
    assert boxes["projection"].detail == "stride 2, norm"
    assert boxes["reduce"].detail == "norm, ReLU"
    block = found["identity block (stage2_block2)"]
    assert ("x", "add") in block.arrows
    assert "projection" not in block.boxes
    assert ("x", "stage2_block2_se_scale") in found["squeeze_excite_block (stage2_block2)"].arrows
    boxes = found["a group (stage1)"].boxes
    assert [b.text for b in boxes.values()] == ["x", "projection_block", *["identity_block"] * 2]
    boxes = found["se_resnext50_32x4d"].boxes
    assert boxes["stage3"].detail == "group of 6 blocks"
    assert boxes["stage3"].note.startswith("4 x 4 x 1024\n")
    assert boxes["stem"].note.startswith("16 x 16 x 64\n")
    assert boxes["stem"].detail == "7 x 7 / 2, max pool / 2"
