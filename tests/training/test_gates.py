import json
import os
import shutil

import numpy as np
import pytest

import senet
from senet.data.sources import load_data
from senet.evaluation import evaluate
from senet.explanation.findings import check_findings
from senet.explanation.statistics import GateStatistics
from senet.prediction.trained import load_trained
from senet.recipes.recipe import Recipe
from senet.training import finish, gates
from senet.training.gates import watch_gates
from senet.training.run import train
from tests.training.test_run import TINY

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_the_report_shows_the_gates_of_the_images_that_were_scored(tmp_path, photos, monkeypatch):
    seen, draw = [], finish.draw_gates

    def draw_and_keep(run, counter, evaluation):
        seen.append(counter)
        return draw(run, counter, evaluation)

    monkeypatch.setattr(finish, "draw_gates", draw_and_keep)
    result = train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"those of 3 blocks on {result['images']} test images of 2 classes" in page
    assert f"senet explain {os.path.relpath(tmp_path / 'out')} --out FOLDER" in page

    (counter,) = seen
    trained, source = load_trained(tmp_path / "out"), load_data(str(photos)).split("test")
    inputs = np.stack([trained.preprocessing(source.image(i)) for i in range(len(source))])
    statistics = senet.gate_statistics(trained.model, inputs, source.labels)
    for name, block in statistics.items():
        np.testing.assert_allclose(counter.blocks[name].class_means, block.class_means, atol=1e-6)
    for finding in check_findings(list(statistics.values())):
        assert finding.answer in page
        assert finding.found[1:] in page


def test_looking_at_the_gates_changes_no_score(tmp_path, photos, monkeypatch):
    scores = []
    for look in (True, False):
        if not look:
            monkeypatch.setattr(finish, "watch_gates", lambda *given: None)
        result = train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / str(look))
        scores.append((result["top1"], pytest.approx(result["loss"], rel=1e-6)))
        drawn = (tmp_path / str(look) / "gates_profile.png").is_file()
        assert drawn == look
        assert ("What the gates do" in (tmp_path / str(look) / "report.html").read_text()) == look
    assert scores[0] == scores[1]


def test_of_many_images_a_sample_counts_and_the_report_says_so(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(gates, "IMAGES", 3)
    result = train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"those of 3 blocks on 3 of {result['images']} test images of 2 classes" in page


def test_gates_that_are_no_finite_numbers_cost_no_report(tmp_path, photos, monkeypatch, capsys):
    add = GateStatistics.add
    monkeypatch.setattr(
        GateStatistics, "add", lambda self, gates, *labels: add(self, gates * np.nan, *labels)
    )
    result = train(Recipe(data=str(photos), epochs=1, **TINY), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    assert "What the gates do" not in (tmp_path / "out" / "report.html").read_text()
    assert "are no finite numbers" in capsys.readouterr().err


def test_a_network_without_gates_has_a_report_without_them(tmp_path, photos):
    plain = TINY | dict(model="resnet20_cifar")
    result = train(Recipe(data=str(photos), epochs=1, **plain), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What the gates do" not in page
    assert not list((tmp_path / "out").glob("gates*"))


def small_network():
    return senet.create("se_resnet20_cifar", n_blocks=(1, 1, 1), classes=2, input_shape=(32, 32, 3))


def test_images_that_were_trained_on_do_not_count(photos):
    model, data = small_network(), load_data(str(photos), split=False)
    source, rule = data.split("all"), senet.Preprocessing(32)
    for seen, images in ((set(source.names[:5]), len(source) - 5), (set(source.names), 0)):
        counter = watch_gates(model, source, seen)
        found = evaluate(model, source, rule, data.class_names, watch=counter.watch)
        assert len(found.labels) == len(source)
        assert {block.images for block in counter.blocks.values()} == {images}


def test_the_gates_of_a_run_all_of_whose_images_were_trained_on_are_shown(tmp_path, photos):
    for split in ("train", "validation", "test"):
        shutil.copytree(photos, tmp_path / "data" / split)
    train(Recipe(data=str(tmp_path / "data"), epochs=1, **TINY), tmp_path / "out")
    assert "those of 3 blocks on 24 test images" in (tmp_path / "out" / "report.html").read_text()
