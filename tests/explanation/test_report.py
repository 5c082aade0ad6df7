import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

import senet
from senet.data.preprocessing import Preprocessing
from senet.data.sources import load_data
from senet.evaluation import evaluate
from senet.explanation.report import block_label, chosen_blocks, explain, findings
from senet.explanation.statistics import GateStatistics
from tests.conftest import make_photos, randomise


def small_case(folder):
    """A small network with gates of all sizes, and images of two classes."""
    data = load_data(str(make_photos(folder / "photos", 20)))
    model = senet.create(
        "se_resnet10",
        n_blocks=(1, 2),
        n_filters=(16, 32),
        ratio=4,
        classes=2,
        input_shape=(32, 32, 3),
    )
    randomise(model)
    return model, data, Preprocessing(32, 1.0)


def block(name, channels, share=0.0, low=0.0, high=0.0):
    """Statistics of one block with this share of the variance between two classes."""
    found = GateStatistics.empty(name, (0.0, 1.0), 2, channels)
    found.count[:] = 50
    between, within = np.sqrt(share) * 0.2, np.sqrt(1 - share) * 0.2
    means = np.array([0.5 - between, 0.5 + between])[:, None] + np.zeros(channels)
    found.total, found.squares = 50 * means, 50 * (means**2 + within**2)
    found.low, found.high = (int(s * 100 * channels) for s in (low, high))
    found.largest[:] = 1
    return found


def test_the_findings_of_the_paper_are_found_where_they_are():
    blocks = [
        *(block(f"stage1_block{i}_se_scale", 64, 0.05) for i in range(3)),
        *(block(f"stage2_block{i}_se_scale", 128, 0.4) for i in range(3)),
        block("stage3_block1_se_scale", 256, 0.8),
        block("stage3_block2_se_scale", 256, 0.7, high=0.9),
    ]
    assert blocks[3].block_specificity == pytest.approx(0.4)
    early, deeper, late = findings(blocks)
    assert [f.answer for f in (early, deeper, late)] == ["yes", "yes", "yes"]
    assert early.numbers.startswith("5% of the variance")
    assert deeper.numbers.startswith("75% in the last stage against 5% in the first")
    assert late.numbers.startswith("90% of the gates of stage3_block2 ")


def test_the_findings_of_the_paper_are_not_found_where_they_are_not():
    blocks = [block(f"b{i}_se_scale", 8 * (i + 1), 0.9 - 0.2 * i, low=0.1) for i in range(4)]
    assert [f.answer for f in findings(blocks)] == ["no", "no", "no"]
    assert findings(blocks[:2])[1].answer == "cannot be said"


def test_the_blocks_in_the_pictures_are_those_of_the_paper():
    blocks = [
        block(f"stage{stage}_block{i + 1}_se_scale", width)
        for stage, width, number in ((2, 256, 3), (3, 512, 4), (4, 1024, 6), (5, 2048, 3))
        for i in range(number)
    ]
    shown = [block_label(b.name) for b in chosen_blocks(blocks)]
    assert shown == ["stage2_block3", "stage3_block4", "stage4_block6"] + [
        f"stage5_block{i}" for i in (1, 2, 3)
    ]
    many = [block(f"b{i}", 8 * (i + 1)) for i in range(40)]
    assert len(chosen_blocks(many)) <= 6
    assert chosen_blocks(many[:1]) == many[:1]


def test_the_report_is_one_page_with_its_pictures_and_numbers(tmp_path):
    model, data, preprocessing = small_case(tmp_path)
    source = data.split("all")
    out = tmp_path / "out"
    about = dict(data="photos", split="all")
    found = explain(model, source, preprocessing, data.class_names, out, about=about, batch_size=16)
    expected = evaluate(model, source, preprocessing, data.class_names)
    np.testing.assert_allclose(found.evaluation.probabilities, expected.probabilities, atol=1e-6)
    inputs = np.stack([preprocessing(source.image(i)) for i in range(len(source))])
    gates = senet.gates(model, inputs)
    assert [b.name for b in found.blocks] == list(gates)
    for b in found.blocks:
        np.testing.assert_allclose(b.mean, gates[b.name].mean(axis=0), atol=1e-6)
        own = gates[b.name][source.labels == 1].std(axis=0)
        np.testing.assert_allclose(b.class_spread[1], own, atol=1e-5)
    numbers = json.loads((out / "explain.json").read_text())
    assert numbers["profile"] == found.profile
    assert [finding["answer"] for finding in numbers["findings"]]
    page = (out / "report.html").read_text()
    pictures = {path.stem for path in out.glob("*.png")}
    assert {"profile", "classes", "within"} <= pictures
    assert len(pictures) == page.count('src="data:image/png;base64,')
    assert not re.search(r'(src|href)="(?!data:)', page)
    for path in out.glob("*.png"):
        assert np.asarray(Image.open(path).convert("L")).std() > 5
    assert "stage2_block2" in page


@pytest.mark.parametrize("right", [True, False])
def test_a_network_that_is_always_right_or_always_wrong_has_its_page(tmp_path, right):
    model, data, preprocessing = small_case(tmp_path)
    whole = data.split("all")
    predicted = evaluate(model, whole, preprocessing, data.class_names).predictions
    source = dataclasses.replace(whole, labels=predicted if right else 1 - predicted)
    about = dict(data="photos", split="all")
    explain(model, source, preprocessing, data.class_names, tmp_path / "out", about=about)
    drawn = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert ("correct" in drawn, "mistakes" in drawn) == (right, not right)


def test_images_that_cannot_be_read_are_left_out_and_counted(tmp_path):
    model, _, preprocessing = small_case(tmp_path)
    (tmp_path / "photos" / "circle" / "00.png").write_bytes(b"no image")
    data = load_data(str(tmp_path / "photos"), split=False)
    found = explain(
        model,
        data.split("all"),
        preprocessing,
        data.class_names,
        tmp_path / "out",
        about=dict(data="photos", split="all"),
    )
    assert found.blocks[0].images == 39
    assert [*found.evaluation.skipped] == ["circle/00.png"]
    assert "1 could not be read" in (tmp_path / "out" / "report.html").read_text()


def test_a_network_without_gates_is_refused_and_nothing_is_written(tmp_path):
    _, data, preprocessing = small_case(tmp_path)
    plain = senet.create("resnet10", n_blocks=(1,), n_filters=(8,), classes=2)
    about = dict(data="photos", split="all")
    with pytest.raises(ValueError, match=r"senet\.insert adds them"):
        explain(plain, data.split("all"), preprocessing, "ab", tmp_path / "out", about=about)
    assert not (tmp_path / "out").exists()
