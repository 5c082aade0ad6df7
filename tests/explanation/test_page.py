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
from senet.explanation.explaining import explain
from senet.explanation.page import write_explanation
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


def write(model, data, preprocessing, out, source=None, **options):
    """Look at a network on images and write the page into a new folder."""
    source = source or data.split("all")
    given = model, source, preprocessing
    found = explain(*given, data.class_names, **dict(images=1000) | options)
    out.mkdir()
    about = dict(data="photos", split="all", warnings=found.evaluation.warnings)
    write_explanation(found, *given, out, about)
    return found


def test_the_page_has_its_pictures_and_numbers_and_needs_no_other_file(tmp_path):
    model, data, preprocessing = small_case(tmp_path)
    source = data.split("all")
    out = tmp_path / "out"
    found = write(model, data, preprocessing, out, batch_size=16)
    expected = evaluate(model, source, preprocessing, data.class_names)
    np.testing.assert_allclose(found.evaluation.probabilities, expected.probabilities, atol=1e-6)
    numbers = json.loads((out / "gates.json").read_text())
    assert numbers["profile"] == found.profile
    assert numbers["thresholds"] == dict(near=0.05, constant=0.01, dead=0.01, shuffles=5)
    assert (numbers["images"], numbers["classes"]) == (40, ["circle", "square"])
    assert list(numbers["curves"]) == [f"stage{i}_se_scale" for i in ("1_block1", "2_block1")] + [
        "stage2_block2_se_scale"
    ]
    page = (out / "explain.html").read_text()
    pictures = {path.stem for path in out.glob("*.png")}
    charts = {path.stem for path in out.glob("*.svg")}
    assert charts == {"profile", "classes", "within", "deletion"}
    assert charts | {"correct", "mistakes"} == pictures
    assert len(charts) == page.count('src="data:image/svg+xml;base64,')
    assert not re.search(r'(src|href)="(?!data:)', page)
    for path in out.glob("*.png"):
        assert np.asarray(Image.open(path).convert("L")).std() > 5
    for finding in found.findings:
        for text in (finding.claim, finding.answer, finding.found[1:], finding.look):
            assert text in page
    for threshold in ("below 0.05 and above 0.95", "within 0.01 of 0", "below 0.01 of the range"):
        assert threshold in page
    assert "stage2_block2" in page
    assert "circle and square" in page


def test_gates_shares_and_profile_are_those_of_a_computation_by_hand(tmp_path):
    model, data, preprocessing = small_case(tmp_path)
    source = data.split("all")
    found = explain(model, source, preprocessing, data.class_names, images=1000, batch_size=7)
    inputs = np.stack([preprocessing(source.image(i)) for i in range(len(source))])
    gates = senet.gates(model, inputs)
    assert [block.name for block in found.blocks] == list(gates)
    labels = source.labels
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(labels) for _ in range(5)]

    def between(gate, groups):
        means = np.stack([gate[groups == k].mean(axis=0) for k in (0, 1)])[groups]
        return ((means - gate.mean(axis=0)) ** 2).sum() / ((gate - gate.mean(axis=0)) ** 2).sum()

    for block, row in zip(found.blocks, found.profile, strict=True):
        gate = gates[block.name].astype("float64")
        np.testing.assert_allclose(block.class_means[1], gate[labels == 1].mean(axis=0), atol=1e-6)
        own = gate[labels == 1].std(axis=0)
        np.testing.assert_allclose(block.class_spread[1], own, atol=1e-5)
        assert row == dict(
            block=block.name,
            channels=gate.shape[1],
            ends=[0.0, 1.0],
            mean=pytest.approx(gate.mean(), abs=1e-6),
            low=pytest.approx((gate < 0.05).mean(), abs=2 / gate.size),
            high=pytest.approx((gate > 0.95).mean(), abs=2 / gate.size),
            variation=pytest.approx(gate.std(axis=0).mean(), abs=1e-5),
            specificity=pytest.approx(between(gate, labels), abs=1e-5),
            shuffled=pytest.approx(np.mean([between(gate, s) for s in shuffled]), abs=1e-5),
            dead=int((gate.max(axis=0) <= 0.01).sum()),
            constant=int(((gate.std(axis=0) < 0.01) & (gate.max(axis=0) > 0.01)).sum()),
        )


@pytest.mark.parametrize("right", [True, False])
def test_a_network_that_is_always_right_or_always_wrong_has_its_page(tmp_path, right):
    model, data, preprocessing = small_case(tmp_path)
    whole = data.split("all")
    predicted = evaluate(model, whole, preprocessing, data.class_names).predictions
    source = dataclasses.replace(whole, labels=predicted if right else 1 - predicted)
    write(model, data, preprocessing, tmp_path / "out", source)
    drawn = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert ("correct" in drawn, "mistakes" in drawn) == (right, not right)


def test_images_that_cannot_be_read_are_left_out_and_counted(tmp_path):
    model, _, preprocessing = small_case(tmp_path)
    (tmp_path / "photos" / "circle" / "00.png").write_bytes(b"no image")
    data = load_data(str(tmp_path / "photos"), split=False)
    found = write(model, data, preprocessing, tmp_path / "out")
    assert found.blocks[0].images == 39
    assert [*found.evaluation.skipped] == ["circle/00.png"]
    assert "circle/00.png" in (tmp_path / "out" / "explain.html").read_text()
