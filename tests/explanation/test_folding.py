import json

import keras
import numpy as np
import pytest

import senet
from senet.data.sources import Data
from senet.evaluation import evaluate
from senet.explanation.folding import _Switched, fold_within, table
from senet.models.folding import with_constant_gates
from tests.explanation.test_page import small_case


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return small_case(tmp_path_factory.mktemp("folding"))


def folded_within(case, out, **options):
    model, data, preprocessing = case

    def save(gates, path):
        senet.save(senet.fold_gates(model, gates), path, class_names=data.class_names)

    return fold_within(model, data, preprocessing, out, save=save, **options)


def test_images_that_cannot_be_read_are_named(tmp_path):
    case = small_case(tmp_path)
    data = case[1]
    for name, index in (("train", 1), ("validation", 0), ("test", 0)):
        (tmp_path / "photos" / data.split(name).names[index]).write_bytes(b"no image")
    result = folded_within(case, tmp_path / "out", max_drop=100, about=dict(warnings=["known"]))
    training, validation, test = (data.split(name) for name in ("train", "validation", "test"))
    first, second, third, *_ = result.warnings
    assert first == (
        f"1 of {len(training)} train images cannot be read and do not count: {training.names[1]}."
    )
    assert second.startswith(f"1 of {len(validation)} validation images")
    assert third.startswith(f"1 of {len(test)} images cannot be read and do not count: ")
    numbers = json.loads((tmp_path / "out" / "fold.json").read_text())
    assert numbers["warnings"] == ["known", *result.warnings]


def test_every_score_is_that_of_the_folded_network_evaluated(case, tmp_path):
    model, data, preprocessing = case
    result = folded_within(case, tmp_path / "out", max_drop=100)
    training = data.split("train")
    inputs = np.stack([preprocessing(training.image(i)) for i in range(len(training))])
    means = {name: gates.mean(axis=0) for name, gates in senet.gates(model, inputs).items()}

    def scored(gates, split="validation"):
        smaller = with_constant_gates(model, gates) if gates else model
        found = evaluate(smaller, data.split(split), preprocessing, data.class_names)
        return found.top1, found.loss, smaller.count_params()

    for worth in result.worth:
        for gate, score in ((means[worth.block], worth.mean), (None, worth.dropped)):
            top1, loss, parameters = scored({worth.block: gate})
            assert score.top1 == top1
            assert score.loss == pytest.approx(loss, rel=1e-4)
            assert worth.parameters == parameters
    order = [step.block for step in result.steps]
    best = sorted(result.worth, key=lambda w: (-w.mean.top1, w.mean.loss))
    assert order == [None, *(worth.block for worth in best)]
    for k, step in enumerate(result.steps):
        top1, loss, parameters = scored({name: means[name] for name in order[1 : k + 1]})
        assert step.score.top1 == top1
        assert step.score.loss == pytest.approx(loss, rel=1e-4)
        assert step.parameters == parameters
        assert step.milliseconds > 0
    assert result.folded == 3
    assert result.difference < 1e-5
    saved = senet.load(tmp_path / "out" / "model.keras")
    assert senet.find_se_blocks(saved) == []
    assert saved.card.spec.se_at == ()
    test = evaluate(saved, data.split("test"), preprocessing, data.class_names)
    np.testing.assert_allclose(test.probabilities, result.after.probabilities, atol=1e-6)
    assert scored({}, "test")[0] == result.before.top1
    numbers = json.loads((tmp_path / "out" / "fold.json").read_text())
    assert numbers["test"]["drop"] == 100 * (result.before.top1 - result.after.top1)
    assert numbers["folded"] == order[1:]
    assert (tmp_path / "out" / "tradeoff.png").stat().st_size > 5000
    lines = list(table(result))
    assert sum(line.startswith("+ ") for line in lines) == 3
    assert "3 of 3 gates folded" in lines[-1]


def test_no_more_is_folded_than_may_be_lost(case, tmp_path):
    result = folded_within(case, tmp_path / "out", max_drop=0)
    before = result.steps[0].score.top1
    within = [k for k, step in enumerate(result.steps) if step.score.top1 >= before]
    assert result.folded == max(within)
    assert result.to_json()["test"]["confirmed"] == (result.drop <= 0)
    saved = senet.load(tmp_path / "out" / "model.keras")
    assert len(senet.find_se_blocks(saved)) == 3 - result.folded


def test_data_without_a_split_to_choose_by_is_refused(case, tmp_path):
    model, data, preprocessing = case
    less = Data(data.class_names, {"train": data.split("train"), "test": data.split("test")})
    with pytest.raises(ValueError, match="there is no split validation"):
        folded_within((model, less, preprocessing), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_blocks_that_share_their_excitation_are_held_apart():
    x = keras.Input((8, 8, 4))
    reduce, excite = keras.layers.Dense(2, "relu"), keras.layers.Dense(4, "sigmoid")
    y = x
    for i in range(2):
        z = keras.layers.GlobalAveragePooling2D(keepdims=True)(y)
        y = keras.layers.Multiply(name=f"scale{i}")([y, excite(reduce(z))])
        y = keras.layers.Conv2D(4, 1)(y) if i == 0 else y
    model = keras.Model(x, keras.layers.Conv2D(2, 1)(y))
    constants = {"scale0": np.linspace(0.1, 0.9, 4), "scale1": np.linspace(0.8, 0.2, 4)}
    switched = _Switched(model, constants)
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 4)).astype("float32")
    for held in ({}, {"scale0": constants["scale0"]}, constants):
        switched.hold(held)
        expected = (senet.fold_gates(model, held) if held else model).predict_on_batch(images)
        found = switched.model.predict_on_batch(images)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
